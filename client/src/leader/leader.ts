// What is done once for all tabs of a user: the connection, the topics that any of them wants, and
// the outbox. Where tabs cannot find one another, each is its own leader.

import { Session, type SessionOptions } from '../ddp/session.js';
import { type Credentials, login } from '../account.js';
import type { UpdraftError } from '../errors.js';
import { positionOf } from '../offset.js';
import type { Store } from '../storage/storage.js';
import { Channel } from './channel.js';
import { failure, isOf, type News, type Request, type Tell } from './news.js';
import { isPassing, retryDelay } from './refusal.js';
import { Sender } from './sender.js';

/** What a leader works with. */
export interface LeaderOptions {
  session: SessionOptions;
  store: Store;
  /** How many records of a channel are kept. */
  keep: number;
  /** Who logs in; absent for nobody. */
  credentials: Credentials | undefined;
}

/** The one that has the connection. */
export class Leader {
  readonly #options: LeaderOptions;
  readonly #tell: Tell;
  readonly #session: Session;
  readonly #sender: Sender;
  /** What is followed, by name; each until the last tab that wants it has left. */
  readonly #channels = new Map<string, Channel>();
  /** The target of the connection; absent without one. */
  #target: string | undefined;
  /** Whether the session may be used: its user has logged in. */
  #isReady = false;
  #isLoggingIn = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Ends when all requests so far are carried out: one by one, since they wait for the store. */
  #done: Promise<void> = Promise.resolve();

  constructor(options: LeaderOptions, tell: Tell) {
    this.#options = options;
    this.#tell = tell;
    this.#session = new Session(options.session, {
      connected: (target, resumed) => this.#connected(target, resumed),
      disconnected: () => this.#disconnected(),
    });
    this.#sender = new Sender(options.store.outbox, this.#session, tell);
  }

  /** Carries out what a tab asks. */
  handle(request: Request): void {
    switch (request.kind) {
      case 'hello':
        this.#tell(this.#state(request.tab));
        break;
      case 'want':
        this.#next(() => this.#want(request));
        break;
      case 'drop':
        this.#next(async () => this.#drop(request.channel, (name) => name === request.subscriber));
        break;
      case 'outbox':
        this.#sender.wake();
        break;
      case 'discard':
        this.#next(() => this.#sender.discard(request.channel));
        break;
    }
  }

  /** A tab is gone. */
  leave(tab: string): void {
    this.#next(async () => {
      for (const channel of [...this.#channels.keys()])
        this.#drop(channel, (name) => isOf(name, tab));
    });
  }

  /** Ends the connection. */
  stop(): void {
    clearTimeout(this.#retry);
    this.#sender.close();
    for (const channel of this.#channels.values()) channel.stop();
    this.#channels.clear();
    this.#session.stop();
  }

  #state(to: string): News {
    return this.#target === undefined
      ? { kind: 'disconnected', to }
      : { kind: 'connected', to, target: this.#target };
  }

  #next(step: () => Promise<void>): void {
    this.#done = this.#done.then(step).catch((error: unknown) => {
      this.#tell({ kind: 'failed', error: failure(error, 'storage-failed') });
    });
  }

  async #want(request: Extract<Request, { kind: 'want' }>): Promise<void> {
    const { subscriber, channel: name, start, policies } = request;
    const { store } = this.#options;
    const position = positionOf(start);
    const stored = position === undefined ? undefined : await store.since(name, position);
    const known = this.#channels.get(name);
    if (known) {
      known.join(subscriber, start, stored !== undefined);
      return;
    }
    // What is stored is one unbroken run. A start elsewhere than in it begins a new one.
    if (!stored) await store.clear(name);
    const channel = new Channel({
      name,
      start: stored?.position ?? start,
      isStored: stored !== undefined,
      policies,
      session: this.#session,
      store,
      keep: this.#options.keep,
      isReady: () => this.#isReady,
      tell: this.#tell,
      ended: () => this.#channels.delete(name),
    });
    this.#channels.set(name, channel);
    channel.open(subscriber, position);
  }

  #drop(name: string, isGone: (subscriber: string) => boolean): void {
    const channel = this.#channels.get(name);
    if (!channel?.leave(isGone)) return;
    channel.stop();
    this.#channels.delete(name);
  }

  #connected(target: string, resumed: boolean): void {
    this.#target = target;
    this.#tell({ kind: 'connected', target });
    if (!resumed) {
      this.#isReady = false;
      for (const channel of this.#channels.values()) channel.lost();
      void this.#begin();
    } else if (this.#isReady) {
      for (const channel of this.#channels.values()) channel.begin();
      this.#session.whenDrained(() => {
        for (const channel of this.#channels.values()) channel.resumed();
      });
      this.#sender.open();
    } else if (!this.#isLoggingIn) {
      void this.#begin();
    }
  }

  #disconnected(): void {
    this.#target = undefined;
    clearTimeout(this.#retry);
    this.#sender.close();
    for (const channel of this.#channels.values()) channel.disconnected();
    this.#tell({ kind: 'disconnected' });
  }

  /** Begins a session: nothing is asked of it before its user has logged in. */
  async #begin(): Promise<void> {
    const { credentials } = this.#options;
    this.#isLoggingIn = true;
    try {
      if (credentials) await login(this.#session, credentials);
    } catch (error) {
      this.#loginFailed(error as UpdraftError);
      return;
    } finally {
      this.#isLoggingIn = false;
    }
    this.#isReady = true;
    for (const channel of this.#channels.values()) channel.begin();
    if (this.#session.isConnected) this.#sender.open();
  }

  #loginFailed(error: UpdraftError): void {
    if (error.code === 'connection-lost') return;
    if (isPassing(error.code)) {
      this.#retry = setTimeout(() => void this.#begin(), retryDelay());
      return;
    }
    this.#tell({ kind: 'failed', error: failure(error, 'login-failed') });
  }
}
