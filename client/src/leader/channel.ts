// A channel that tabs want: what comes is stored, then told. A subscription from a start that is
// not in the store gets a replay of its own first, and joins the others behind it.

import type { Session } from '../ddp/session.js';
import type { UpdraftError } from '../errors.js';
import { type Policies, positionOf, type Reset, type Start } from '../offset.js';
import { withRoom } from '../storage/room.js';
import type { Store, StoredRecord } from '../storage/storage.js';
import { Follow, type FollowUser } from './follow.js';
import { failure, type Tell } from './news.js';

/** What a channel works with. */
export interface ChannelOptions {
  name: string;
  start: Start;
  /** Whether the start is the position up to which the channel is stored. */
  isStored: boolean;
  policies: Required<Policies>;
  session: Session;
  store: Store;
  keep: number;
  /** Whether the session may be used. */
  isReady(): boolean;
  tell: Tell;
  /** It has ended, for good. */
  ended(): void;
}

/** How many records more than `keep` there may be, so that not each append has to drop some. */
const SLACK = 1.1;

/** A channel that is followed for tabs. */
export class Channel {
  readonly #options: ChannelOptions;
  /** Subscriptions that get what all get. */
  readonly #joined = new Set<string>();
  /** Those that want what comes behind the last record, and wait until it is known. */
  readonly #joining = new Set<string>();
  /** Those that get a replay of their own first. */
  readonly #replays = new Map<string, Follow>();
  #follow: Follow;
  /** Up to where all tabs were told. */
  #position: string | undefined;
  /** Whether it was caught up once, and whether it is now. */
  #isReady = false;
  #isCaughtUp = false;
  #isStopped = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#position = positionOf(options.start);
    this.#follow = this.#newFollow(options.start);
  }

  /** Begins, for the first subscription. It has shown what is up to `shown`. */
  open(subscriber: string, shown: string | undefined): void {
    this.#joined.add(subscriber);
    this.#options.tell({ kind: 'joined', to: subscriber, channel: this.#options.name, shown });
    if (this.#options.isReady()) this.begin();
  }

  /** Another subscription wants it, or one that has it asks again. */
  join(subscriber: string, start: Start, isInStore: boolean): void {
    if (isInStore || this.#joined.has(subscriber)) {
      this.#join(subscriber, positionOf(start));
    } else if (start !== 'latest') {
      this.#replay(subscriber, start);
    } else if (this.#isReady) {
      this.#join(subscriber, this.#position);
    } else {
      this.#joining.add(subscriber);
    }
  }

  /** Some do not want it any more. Returns whether nobody does. */
  leave(isGone: (subscriber: string) => boolean): boolean {
    for (const subscriber of this.#subscribers()) {
      if (!isGone(subscriber)) continue;
      this.#joined.delete(subscriber);
      this.#joining.delete(subscriber);
      this.#replays.get(subscriber)?.stop();
      this.#replays.delete(subscriber);
    }
    return this.#subscribers().length === 0;
  }

  /** There is a session that may be used, a new one or one that goes on. */
  begin(): void {
    for (const follow of this.#follows()) follow.begin();
  }

  /** There is no connection. */
  disconnected(): void {
    this.#isCaughtUp = false;
  }

  /** The session goes on, and what was missed has come. */
  resumed(): void {
    this.#follow.resumed();
  }

  /** The session is gone. */
  lost(): void {
    for (const follow of this.#follows()) follow.lost();
  }

  /** Ends it. Nothing is told any more. */
  stop(): void {
    this.#isStopped = true;
    for (const follow of this.#follows()) follow.stop();
  }

  #subscribers(): string[] {
    return [...this.#joined, ...this.#joining, ...this.#replays.keys()];
  }

  #follows(): Follow[] {
    return [this.#follow, ...this.#replays.values()];
  }

  #join(subscriber: string, shown: string | undefined): void {
    const { name, tell } = this.#options;
    this.#joined.add(subscriber);
    tell({ kind: 'joined', to: subscriber, channel: name, shown });
    const position = this.#position;
    if (this.#isCaughtUp && position !== undefined)
      tell({ kind: 'caughtup', to: subscriber, channel: name, position });
    if (this.#isReady) tell({ kind: 'ready', to: subscriber, channel: name });
  }

  #newFollow(start: Start): Follow {
    const { session, name, policies, tell } = this.#options;
    const user: FollowUser = {
      records: async (records, position) => {
        await this.#store(records, position);
        this.#tellOfRecords(records, position);
      },
      gap: async (gap) => tell({ kind: 'gap', channel: name, gap }),
      reset: (reset) => this.#reset(reset),
      progress: (position) => this.#progress(position),
      caughtUp: async (position) => {
        await this.#progress(position);
        this.#isCaughtUp = session.isConnected;
        tell({ kind: 'caughtup', channel: name, position });
      },
      ready: async () => this.#ready(),
      ended: (error) => this.#ended(error, positionOf(start)),
    };
    return new Follow(session, name, start, policies, user);
  }

  /** Stores records. Where that fails they are told nevertheless, and so is the failure. */
  async #store(records: StoredRecord[], position: string): Promise<void> {
    const { name, store, keep, tell } = this.#options;
    const evicted = (channel: string, count: number) => tell({ kind: 'evicted', channel, count });
    try {
      const count = await withRoom(store, () => store.append(name, records, position), evicted);
      if (count > keep * SLACK) await store.evict(count - keep, name);
    } catch (error) {
      tell({ kind: 'failed', error: failure(error, 'storage-failed', name) });
    }
  }

  #tellOfRecords(records: StoredRecord[], position: string): void {
    if (this.#isStopped) return;
    const { name, tell } = this.#options;
    tell({ kind: 'records', channel: name, records, after: this.#position, position });
    this.#position = position;
  }

  async #progress(position: string): Promise<void> {
    await this.#store([], position);
    this.#tellOfRecords([], position);
  }

  async #reset(reset: Reset): Promise<void> {
    const { name, store, tell } = this.#options;
    try {
      await store.clear(name);
    } catch (error) {
      tell({ kind: 'failed', error: failure(error, 'storage-failed', name) });
    }
    this.#position = undefined;
    tell({ kind: 'reset', channel: name, reset });
  }

  #ready(): void {
    const { name, tell } = this.#options;
    if (!this.#isReady)
      for (const subscriber of this.#joined) tell({ kind: 'ready', to: subscriber, channel: name });
    this.#isReady = true;
    for (const subscriber of this.#joining) this.#join(subscriber, this.#position);
    this.#joining.clear();
  }

  async #ended(error: UpdraftError, position: string | undefined): Promise<void> {
    const { name, policies, isStored, isReady, ended, tell } = this.#options;
    // The position is not the caller's but the store's, so the store is what is wrong.
    if (
      error.code === 'bad-position' &&
      isStored &&
      policies.onReset !== 'fail' &&
      position !== undefined
    ) {
      await this.#reset({ reason: 'bad-position' });
      this.#follow = this.#newFollow(policies.onReset);
      if (isReady()) this.#follow.begin();
      return;
    }
    ended();
    this.stop();
    for (const to of this.#subscribers()) {
      tell({ kind: 'ended', to, channel: name, error: failure(error, 'stopped', name) });
    }
  }

  /** Gives a subscription what it wants from elsewhere, up to now; then it joins the others. */
  #replay(subscriber: string, start: Start): void {
    const { session, name, policies, isReady, tell } = this.#options;
    let shown = positionOf(start);
    const replay = new Follow(session, name, start, policies, {
      records: async (records, position) => {
        tell({ kind: 'records', to: subscriber, channel: name, records, after: shown, position });
        shown = position;
      },
      gap: async (gap) => tell({ kind: 'gap', to: subscriber, channel: name, gap }),
      reset: async (reset) => tell({ kind: 'reset', to: subscriber, channel: name, reset }),
      progress: async (position) => void (shown = position),
      caughtUp: async (position) => void (shown = position),
      ready: async () => {
        replay.stop();
        this.#replays.delete(subscriber);
        this.#join(subscriber, shown);
      },
      ended: async (error) => {
        this.#replays.delete(subscriber);
        tell({
          kind: 'ended',
          to: subscriber,
          channel: name,
          error: failure(error, 'stopped', name),
        });
      },
    });
    this.#replays.get(subscriber)?.stop();
    this.#replays.set(subscriber, replay);
    if (isReady()) replay.begin();
  }
}
