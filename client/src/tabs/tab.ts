// What one tab wants and gets: its subscriptions, what it waits to have published, and the events
// of its program.

import { asUpdraftError, UpdraftError } from '../errors.js';
import type { ClientEvents } from '../client-events.js';
import type { Emitter } from '../events.js';
import { type Failure, type News, subscriberOf } from '../leader/news.js';
import { type Codec, type Message, toMessage, toUnsent, type Unsent } from '../message.js';
import type { Policies, Start } from '../offset.js';
import { withRoom } from '../storage/room.js';
import type { OutboxEntry, Store, StoredRecord } from '../storage/storage.js';
import type { Hub } from './hub.js';
import { TabSubscription } from './subscription.js';

interface Waiter {
  entry: OutboxEntry;
  resolve(position: string): void;
  reject(error: UpdraftError): void;
}

/** A tab, for as long as its user is the same. */
export class Tab {
  readonly #store: Store;
  readonly #decode: Codec<unknown>;
  readonly #events: Emitter<ClientEvents>;
  readonly #hub: Hub;
  readonly #subscriptions = new Map<string, TabSubscription>();
  /** Who waits for which entry of the outbox. */
  readonly #waiters = new Map<string, Waiter[]>();
  /** What is being put into the outbox. */
  readonly #puts = new Set<Promise<void>>();
  /** How many subscriptions there were. */
  #count = 0;
  #isConnected = false;
  #wasConnected = false;

  /** `makeHub` is given what takes the news of the leader. */
  constructor(
    store: Store,
    decode: Codec<unknown>,
    events: Emitter<ClientEvents>,
    makeHub: (take: (news: News) => void) => Hub,
  ) {
    this.#store = store;
    this.#decode = decode;
    this.#events = events;
    this.#hub = makeHub((news) => this.#take(news));
    this.#hub.ask({ kind: 'hello', tab: this.#hub.tab });
    this.#hub.ask({ kind: 'outbox' });
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Subscribes, unless it has done so. Resolves at `ready`. */
  subscribe(channel: string, start: Start, policies: Required<Policies>): Promise<void> {
    const known = this.#subscriptions.get(channel);
    if (known) return known.ready;
    const show = (records: StoredRecord[]) => this.#show(channel, records);
    const name = subscriberOf(this.#hub.tab, (this.#count += 1));
    const subscription = new TabSubscription(name, channel, start, policies, this.#store, show);
    this.#subscriptions.set(channel, subscription);
    this.#want(subscription);
    return subscription.ready;
  }

  /** Ends a subscription, if there is one. */
  unsubscribe(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (!subscription) return;
    this.#subscriptions.delete(channel);
    subscription.stop(
      new UpdraftError('unsubscribed', 'the channel was unsubscribed', { channel }),
    );
    this.#hub.ask({ kind: 'drop', subscriber: subscription.name, channel });
  }

  /** Puts an entry into the outbox. Resolves with the position that the server has given it. */
  publish(entry: OutboxEntry): Promise<string> {
    return new Promise((resolve, reject) => {
      const waiters = this.#waiters.get(entry.id) ?? [];
      this.#waiters.set(entry.id, [...waiters, { entry, resolve, reject }]);
      const put = this.#put(entry);
      this.#puts.add(put);
      void put.finally(() => this.#puts.delete(put));
    });
  }

  /** What waits to be published to a channel: all that is in the outbox, or on its way into it. */
  async unsent(channel: string): Promise<Unsent[]> {
    const stored = await this.#store.outbox.list();
    const ids = new Set(stored.map(({ id }) => id));
    const others = [...this.#waiters.values()].flatMap(([waiter]) => waiter?.entry ?? []);
    return [...stored, ...others.filter(({ id }) => !ids.has(id))]
      .filter((entry) => entry.channel === channel)
      .map((entry) => toUnsent(entry, this.#decode));
  }

  /** Forgets what waits to be published to a channel. */
  async discard(channel: string): Promise<void> {
    await Promise.all(this.#puts);
    this.#hub.ask({ kind: 'discard', channel });
  }

  /** The messages of records, without those that cannot be decoded. */
  messages(channel: string, records: StoredRecord[]): Message[] {
    return records.flatMap((record) => {
      try {
        return [toMessage(record, this.#decode)];
      } catch (cause) {
        const place = { channel, position: record.position, cause };
        this.#events.emit(
          'error',
          new UpdraftError('decode-failed', 'a message cannot be decoded', place),
        );
        return [];
      }
    });
  }

  /** Ends all of it. What is in the outbox stays there. */
  close(error: UpdraftError): void {
    for (const subscription of this.#subscriptions.values()) subscription.stop(error);
    this.#subscriptions.clear();
    this.#hub.close();
    for (const waiter of [...this.#waiters.values()].flat()) waiter.reject(error);
    this.#waiters.clear();
    this.#setConnected(undefined);
  }

  #want({ name, channel, start, policies }: TabSubscription): void {
    this.#hub.ask({ kind: 'want', subscriber: name, channel, start, policies });
  }

  #take(news: News): void {
    switch (news.kind) {
      case 'leader':
        this.#setConnected(undefined);
        for (const subscription of this.#subscriptions.values()) {
          subscription.next(() => {
            subscription.leave();
            this.#want(subscription);
          });
        }
        // The former leader may have sent an entry and not told. The server knows its id.
        for (const [waiter] of this.#waiters.values()) if (waiter) void this.#put(waiter.entry);
        break;
      case 'connected':
        this.#setConnected(news.target);
        break;
      case 'disconnected':
        this.#setConnected(undefined);
        break;
      case 'evicted':
        this.#evicted(news.channel, news.count);
        break;
      case 'failed':
        this.#events.emit('error', toError(news.error));
        break;
      case 'published':
        this.#settle(news.id, (waiter) => waiter.resolve(news.position));
        this.#events.emit('published', news.channel, news.position);
        break;
      case 'refused': {
        const error = toError(news.error);
        const isAwaited = this.#settle(news.id, (waiter) => waiter.reject(error));
        // It was published before this page was loaded.
        if (!isAwaited && this.#hub.isLeader) this.#events.emit('error', error);
        break;
      }
      default: {
        const subscription = this.#subscriptions.get(news.channel);
        const { to } = { to: undefined, ...news };
        if (to === undefined || to === subscription?.name)
          subscription?.next(() => this.#takeOf(subscription, news));
      }
    }
  }

  async #takeOf(
    subscription: TabSubscription,
    news: Extract<News, { channel: string }>,
  ): Promise<void> {
    const { channel } = subscription;
    switch (news.kind) {
      case 'joined':
        await subscription.join(news.shown);
        break;
      case 'records':
        await subscription.take(news);
        break;
      case 'ready':
        subscription.setReady();
        break;
      case 'gap':
        this.#events.emit('gap', channel, news.gap);
        break;
      case 'reset':
        subscription.reset();
        this.#events.emit('reset', channel, news.reset);
        break;
      case 'caughtup':
        this.#events.emit('caughtup', channel, news.position);
        break;
      case 'ended': {
        this.#subscriptions.delete(channel);
        const error = toError(news.error);
        if (subscription.stop(error)) this.#events.emit('error', error);
        break;
      }
      default:
        break;
    }
  }

  async #put(entry: OutboxEntry): Promise<void> {
    try {
      await withRoom(this.#store, () => this.#store.outbox.put(entry), this.#evicted);
      this.#hub.ask({ kind: 'outbox' });
    } catch (thrown) {
      const error = asUpdraftError(thrown, 'storage-failed', { channel: entry.channel });
      this.#settle(entry.id, (waiter) => waiter.reject(error));
    }
  }

  #show(channel: string, records: StoredRecord[]): void {
    const messages = this.messages(channel, records);
    if (messages.length > 0) this.#events.emit('messages', channel, messages);
  }

  readonly #evicted = (channel: string, count: number) =>
    this.#events.emit('evicted', channel, count);

  #settle(id: string, settle: (waiter: Waiter) => void): boolean {
    const waiters = this.#waiters.get(id);
    this.#waiters.delete(id);
    waiters?.forEach(settle);
    return waiters !== undefined;
  }

  #setConnected(target: string | undefined): void {
    const isConnected = target !== undefined;
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    if (!isConnected) this.#events.emit('disconnect');
    else if (this.#wasConnected) this.#events.emit('reconnect', target);
    else this.#events.emit('connect', target);
    this.#wasConnected ||= isConnected;
  }
}

function toError({ code, message, channel }: Failure): UpdraftError {
  return new UpdraftError(code, message, { channel });
}
