// The way between a tab and the leader: in the same tab, or over a BroadcastChannel, where a lock
// of the browser says who leads. A lock is free as soon as its tab is gone, however that happened.

import { randomId } from '../ids.js';
import type { Leader } from '../leader/leader.js';
import { isOf, type News, type Request, type Tell } from '../leader/news.js';

/** The way to the leader. */
export interface Hub {
  /** The name of this tab. */
  readonly tab: string;
  /** Whether the leader is in this tab. */
  readonly isLeader: boolean;
  ask(request: Request): void;
  close(): void;
}

/** Makes a leader that tells its tabs by a function. */
export type MakeLeader = (tell: Tell) => Leader;

/** Whether tabs of this browser can share a leader. */
export function canShare(): boolean {
  return (
    typeof navigator === 'object' && 'locks' in navigator && typeof BroadcastChannel === 'function'
  );
}

/** A tab that is its own leader. */
export class OwnHub implements Hub {
  readonly tab = randomId();
  readonly isLeader = true;
  readonly #leader: Leader;

  constructor(makeLeader: MakeLeader, take: Tell) {
    this.#leader = makeLeader(take);
  }

  ask(request: Request): void {
    this.#leader.handle(request);
  }

  close(): void {
    this.#leader.stop();
  }
}

/** One of several tabs, of which one leads. */
export class SharedHub implements Hub {
  readonly tab = randomId();
  readonly #name: string;
  readonly #makeLeader: MakeLeader;
  readonly #take: Tell;
  readonly #channel: BroadcastChannel;
  /** Kept when this tab has its lock. Asking before, it would pass for one that is gone. */
  readonly #isHere: Promise<void>;
  /** Gives up this tab's locks, and what it waits for. */
  readonly #closed = new AbortController();
  #leader: Leader | undefined;
  /** Tabs whose end is waited for. */
  readonly #known = new Set<string>();

  constructor(namespace: string, makeLeader: MakeLeader, take: Tell) {
    this.#name = `updraft-client:${namespace}`;
    this.#makeLeader = makeLeader;
    this.#take = take;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.addEventListener('message', ({ data }: MessageEvent<Envelope>) =>
      this.#receive(data),
    );
    this.#isHere = new Promise((here) => this.#hold(this.#lockOf(this.tab), here));
    this.#hold(this.#name, () => this.#lead());
  }

  get isLeader(): boolean {
    return this.#leader !== undefined;
  }

  ask(request: Request): void {
    void this.#isHere.then(() => {
      if (this.#leader) this.#leader.handle(request);
      else this.#post({ request, tab: this.tab });
    });
  }

  close(): void {
    this.#leader?.stop();
    this.#leader = undefined;
    this.#closed.abort();
    this.#channel.close();
  }

  #receive(envelope: Envelope): void {
    if ('news' in envelope) {
      const { to } = envelope.news;
      if (to === undefined || isOf(to, this.tab)) this.#take(envelope.news);
    } else if (this.#leader) {
      this.#watch(envelope.tab);
      this.#leader.handle(envelope.request);
    }
  }

  #lead(): void {
    this.#leader = this.#makeLeader((news) => {
      const { to } = { to: undefined, ...news };
      const isOwn = to !== undefined && isOf(to, this.tab);
      if (!isOwn) this.#post({ news });
      if (isOwn || to === undefined) this.#take(news);
    });
    const news: News = { kind: 'leader' };
    this.#post({ news });
    this.#take(news);
  }

  /** Notices the end of a tab, by its lock. */
  #watch(tab: string): void {
    if (this.#known.has(tab)) return;
    this.#known.add(tab);
    navigator.locks
      .request(this.#lockOf(tab), { signal: this.#closed.signal }, () => {
        this.#known.delete(tab);
        this.#leader?.leave(tab);
      })
      .catch(() => {});
  }

  /** Takes a lock, and keeps it until this tab is closed. Where it is refused, nobody has it. */
  #hold(lock: string, taken: () => void): void {
    const { signal } = this.#closed;
    navigator.locks
      .request(lock, { signal }, () => {
        if (signal.aborted) return undefined;
        taken();
        return new Promise<void>((release) => signal.addEventListener('abort', () => release()));
      })
      .catch(() => {
        if (!signal.aborted) taken();
      });
  }

  #lockOf(tab: string): string {
    return `${this.#name}:tab:${tab}`;
  }

  #post(envelope: Envelope): void {
    if (!this.#closed.signal.aborted) this.#channel.postMessage(envelope);
  }
}

/** What passes between tabs. */
type Envelope = { news: News & { to?: string } } | { request: Request; tab: string };
