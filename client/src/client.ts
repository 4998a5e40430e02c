// The client: what programs call.

import { type Credentials, identify, logout } from './account.js';
import type { ClientEvents } from './client-events.js';
import type { CloseOptions, ConsumeHandler, ConsumeOptions, Consumer } from './consume/api.js';
import { GroupConsumer } from './consume/consumer.js';
import type { SessionOptions } from './ddp/session.js';
import { type Json, toEjson } from './ejson.js';
import { UpdraftError } from './errors.js';
import { Emitter, type Handler } from './events.js';
import type { Codec, Message, Unsent } from './message.js';
import { defaultStorage, Namespace, type NamespaceOptions } from './namespace.js';
import { type Offset, type Policies, toStart } from './offset.js';
import { type ClientOptions, KEEP, toSessionOptions } from './options.js';
import { type PublishOptions, toEntry } from './publishing.js';
import { MemoryStorage } from './storage/memory.js';
import type { Store } from './storage/storage.js';

/** What is stored of a channel. */
export interface Loaded {
  /** The stored messages, oldest first. */
  messages: Message[];
  /** Up to where the channel was received, for `subscribe`. Absent if it never was. */
  lastOffset: string | undefined;
}

/** The store of a client, for what this package builds on it. */
export let storeOf: (client: Client) => Promise<Store>;

/**
 * Follows channels, keeps what comes, and publishes, also while there is no connection.
 *
 * @example
 * const client = new Client({ targets: 'wss://orders.example/websocket' });
 * client.on('messages', (channel, messages) => show(messages));
 *
 * const { messages, lastOffset } = await client.load('orders');
 * show(messages);
 * await client.subscribe('orders', lastOffset ?? '0');
 *
 * await client.publish('orders', 'item', 'coffee', 'cups', 2);
 */
export class Client {
  static {
    storeOf = async (client) => (await client.#current()).store;
  }

  readonly #session: SessionOptions;
  readonly #encode: Codec<unknown>;
  readonly #namespaceOptions: NamespaceOptions;
  readonly #events: Emitter<ClientEvents>;
  readonly #consumers = new Set<GroupConsumer>();
  readonly #closed = new AbortController();
  /** Resolves with the namespace of the user; replaced when the user changes. */
  #namespace: Promise<Namespace>;
  /** The same, when it is open. */
  #open: Namespace | undefined;

  /**
   * Connects, and goes on trying to.
   *
   * @throws UpdraftError `invalid-arguments` if there is no target or no WebSocket.
   */
  constructor(options: ClientOptions = {}) {
    const { encode = itself, decode = itself, keep = KEEP, user, token } = options;
    const storage =
      options.storage ?? (options.localStorage === false ? new MemoryStorage() : defaultStorage());
    this.#session = toSessionOptions(options);
    this.#encode = encode;
    this.#events = new Emitter((error, name) => this.#handlerFailed(error, name));
    // Without a handler, errors go to the console.
    this.#events.on('error', (error) => {
      if (this.#events.count('error') === 1) console.error(error);
    });
    this.#namespaceOptions = {
      session: this.#session,
      storage,
      keep,
      decode,
      events: this.#events,
    };
    const credentials = user !== undefined && token !== undefined ? { user, token } : undefined;
    this.#namespace = this.#openNamespace(credentials);
  }

  /** Adds a handler of an event. The function that is returned removes it. */
  on<Name extends keyof ClientEvents>(
    name: Name,
    handler: Handler<ClientEvents[Name]>,
  ): () => void {
    return this.#events.on(name, handler);
  }

  /** Removes a handler of an event. */
  off<Name extends keyof ClientEvents>(name: Name, handler: Handler<ClientEvents[Name]>): void {
    this.#events.off(name, handler);
  }

  /** Whether there is a connection. */
  get isConnected(): boolean {
    return this.#open?.tab.isConnected ?? false;
  }

  /** The id of the user; absent when nobody has logged in. */
  get user(): string | undefined {
    return this.#open?.credentials?.user;
  }

  /** What is stored of a channel. It needs no connection. */
  async load(channel: string): Promise<Loaded> {
    const namespace = await this.#current();
    namespace.tellIfCleared(channel);
    const { records, position } = await namespace.store.load(channel);
    return { messages: namespace.tab.messages(channel, records), lastOffset: position };
  }

  /**
   * Subscribes to a channel. Resolves when all messages have come that there were, which may take
   * until there is a connection. Subscribed a second time, it has no effect.
   *
   * What is stored of the channel is one unbroken run: an offset outside of it begins a new one.
   *
   * Rejects with the code of the server's refusal, `not-authorized` for example.
   */
  async subscribe(channel: string, offset: Offset = '$', policies: Policies = {}): Promise<true> {
    const start = toStart(offset);
    const namespace = await this.#current();
    namespace.tellIfCleared(channel);
    const { onGap = 'earliest', onReset = 'earliest' } = policies;
    await namespace.tab.subscribe(channel, start, { onGap, onReset });
    return true;
  }

  /** Ends the subscription to a channel. What is stored stays. */
  async unsubscribe(channel: string): Promise<true> {
    (await this.#current()).tab.unsubscribe(channel);
    return true;
  }

  /**
   * Publishes keys and values, or a value. Resolves with the position that it got. Until then it is
   * in the outbox, which is stored like messages: it is sent when there is a connection, also by
   * the next page.
   *
   * Rejects with the code of the server's refusal.
   */
  publish(channel: string, value: object | null, options?: PublishOptions): Promise<string>;
  publish(channel: string, key: string, value: unknown, ...more: unknown[]): Promise<string>;
  async publish(channel: string, ...parameters: unknown[]): Promise<string> {
    const entry = toEntry(channel, parameters, this.#encode);
    return (await this.#current()).tab.publish(entry);
  }

  /**
   * What waits to be published to a channel, oldest first, also what an earlier page has published
   * or another tab. It needs no connection. The event `published` tells when there is less of it.
   */
  async unsent(channel: string): Promise<Unsent[]> {
    return (await this.#current()).tab.unsent(channel);
  }

  /**
   * Works for a group of the server: the handler is called for each record that this client is
   * given. When it returns, or its promise resolves, the record is done; when it throws, the record
   * is delivered again. Records of one key are handled one after the other, others at the same time.
   *
   * `group` is the name under which the server lets clients work (`Builder::worker`). Resolves when
   * the server gives records, and rejects with the code of its refusal. A consumer has a connection
   * of its own. It ends with this client, and when the user changes.
   *
   * @example
   * const consumer = await client.consume('orders.work', async ({ payload }) => bill(payload));
   * process.once('SIGTERM', () => consumer.close());
   */
  async consume(
    group: string,
    handler: ConsumeHandler,
    options: ConsumeOptions = {},
  ): Promise<Consumer> {
    const { credentials } = await this.#current();
    const { decode } = this.#namespaceOptions;
    const parts = {
      session: this.#session,
      credentials,
      decode,
      failed: (error: UpdraftError) => this.#events.emit('error', error),
      stopped: (consumer: GroupConsumer) => void this.#consumers.delete(consumer),
    };
    const consumer = new GroupConsumer(parts, group, handler, options);
    this.#consumers.add(consumer);
    await consumer.ready;
    return consumer;
  }

  /**
   * Forgets what waits to be published to a channel: those promises reject with `discarded`. A
   * message that is on its way may arrive nevertheless.
   */
  async discard(channel: string): Promise<void> {
    await (await this.#current()).tab.discard(channel);
  }

  /**
   * Logs a user in, by a resume token or by the parameter of another way to log in. Resolves with
   * the user's id.
   *
   * What is stored belongs to a user. A change of user ends all subscriptions and closes the store:
   * subscribe again afterwards.
   *
   * The server is asked who the user is. Give `user` with a token, and there is no need to ask.
   */
  async login(credentials: string | { [name: string]: unknown }, user?: string): Promise<string> {
    const isKnown = typeof credentials === 'string' && user !== undefined;
    const found = isKnown ? { user, token: credentials } : await this.#identify(credentials);
    await this.#change(found);
    return found.user;
  }

  /** Logs the user out, and has the server forget the token, if there is a connection. */
  async logout(): Promise<void> {
    const { credentials, tab } = await this.#current();
    if (!credentials) return;
    const isConnected = tab.isConnected;
    await this.#change(undefined);
    if (isConnected) await logout(this.#session, credentials.token, this.#closed.signal);
  }

  /** Forgets what is stored of a channel, or of all channels. Subscriptions go on. */
  async clear(channel?: string): Promise<void> {
    await (await this.#current()).store.clear(channel);
  }

  /**
   * Ends the connection and closes the store, when the handlers of its consumers have ended, or
   * after `timeout` as in `Consumer.close`. Later calls reject with `closed`.
   */
  async close(options?: CloseOptions): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await Promise.all([...this.#consumers].map((consumer) => consumer.close(options)));
    await (await this.#namespace).close(closed());
  }

  async #current(): Promise<Namespace> {
    if (this.#closed.signal.aborted) throw closed();
    return this.#namespace;
  }

  #identify(credentials: string | { [name: string]: unknown }): Promise<Credentials> {
    const parameters =
      typeof credentials === 'string' ? { resume: credentials } : toEjson(credentials);
    return identify(this.#session, parameters as { [name: string]: Json }, this.#closed.signal);
  }

  /** Closes what belongs to the former user before anything of the next one is opened. */
  async #change(credentials: Credentials | undefined): Promise<void> {
    if (this.#closed.signal.aborted) throw closed();
    const changed = new UpdraftError('user-changed', 'the user has changed');
    for (const consumer of this.#consumers) consumer.stop(changed);
    const former = this.#namespace;
    this.#open = undefined;
    this.#namespace = former.then(async (namespace) => {
      await namespace.close(changed);
      return this.#openNamespace(credentials);
    });
    await this.#namespace;
  }

  async #openNamespace(credentials: Credentials | undefined): Promise<Namespace> {
    this.#open = await Namespace.open(this.#namespaceOptions, credentials);
    return this.#open;
  }

  #handlerFailed(cause: unknown, name: keyof ClientEvents): void {
    const error = new UpdraftError('handler-failed', `a handler of '${name}' has thrown`, {
      cause,
    });
    if (name === 'error') console.error(error);
    else this.#events.emit('error', error);
  }
}

function itself(value: unknown): unknown {
  return value;
}

function closed(): UpdraftError {
  return new UpdraftError('closed', 'the client is closed');
}
