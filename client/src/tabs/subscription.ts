// A channel as one tab sees it: which records it has shown. Each is shown once and in order,
// whoever is the leader: what a leader stored and could not tell any more is read from the store.

import type { News } from '../leader/news.js';
import type { Policies, Start } from '../offset.js';
import type { Store, StoredRecord } from '../storage/storage.js';

/** A subscription of a tab. */
export class TabSubscription {
  /** Its name, for the leader. */
  readonly name: string;
  readonly channel: string;
  readonly policies: Required<Policies>;
  /** Kept at `ready`, or when the subscription ends before. */
  readonly ready: Promise<void>;
  readonly #start: Start;
  readonly #store: Store;
  readonly #show: (records: StoredRecord[]) => void;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};
  #isSettled = false;
  /** Up to where records were shown; absent while nothing is known, and then each is new. */
  #shown: string | undefined;
  /** Whether it gets what all tabs get. */
  #hasJoined = false;
  #isStopped = false;
  /** Ends when all news so far are handled: one by one, since some wait for the store. */
  #done: Promise<void> = Promise.resolve();

  constructor(
    name: string,
    channel: string,
    start: Start,
    policies: Required<Policies>,
    store: Store,
    show: (records: StoredRecord[]) => void,
  ) {
    this.name = name;
    this.channel = channel;
    this.policies = policies;
    this.#start = start;
    this.#store = store;
    this.#show = show;
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever waits for it is told; if nobody does, that is no unhandled rejection.
    this.ready.catch(() => {});
  }

  /** Where a leader has to begin for it. */
  get start(): Start {
    return this.#shown ?? this.#start;
  }

  /** Handles something after all that came before it. */
  next(step: () => Promise<void> | void): void {
    this.#done = this.#done.then(async () => {
      if (!this.#isStopped) await step();
    });
  }

  /** It has what is up to `shown`, and gets what follows. */
  async join(shown: string | undefined): Promise<void> {
    this.#shown ??= shown;
    this.#hasJoined = true;
    if (this.#shown !== undefined) await this.#catchUp(this.#shown);
  }

  /** There is a new leader: what it tells is for this subscription when it has joined again. */
  leave(): void {
    this.#hasJoined = false;
  }

  /** Records of the leader, for all tabs or for this one. */
  async take({ to, records, after, position }: Extract<News, { kind: 'records' }>): Promise<void> {
    if (!this.#hasJoined && to === undefined) return;
    const shown = this.#shown;
    if (to === undefined && shown !== undefined && after !== undefined && after > shown)
      await this.#catchUp(shown);
    this.#showNew(records, position);
  }

  /** What was shown says nothing any more. */
  reset(): void {
    this.#shown = undefined;
  }

  setReady(): void {
    this.#isSettled = true;
    this.#resolve();
  }

  /** Ends it. Returns whether nobody has been told, since `ready` was kept before. */
  stop(error: Error): boolean {
    this.#isStopped = true;
    const wasSettled = this.#isSettled;
    this.#isSettled = true;
    this.#reject(error);
    return wasSettled;
  }

  async #catchUp(shown: string): Promise<void> {
    const stored = await this.#store.since(this.channel, shown).catch(() => undefined);
    if (stored && !this.#isStopped) this.#showNew(stored.records, stored.position);
  }

  #showNew(records: StoredRecord[], position: string | undefined): void {
    const shown = this.#shown ?? '';
    const fresh = records.filter((record) => record.position > shown);
    if (position !== undefined && position > shown) this.#shown = position;
    if (fresh.length > 0) this.#show(fresh);
  }
}
