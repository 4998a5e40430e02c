// Events with names and arguments on a topic, as emitters in other processes have them: what is
// triggered in one of them fires in all of them, in the order of the topic.

import { type Client, storeOf } from './client.js';
import { asUpdraftError, UpdraftError } from './errors.js';
import { Emitter, type Handler } from './events.js';
import { randomId } from './ids.js';
import { type Message, recordOf } from './message.js';
import type { Gap, Offset, Reset } from './offset.js';

/** Options of an emitter. */
export interface EmitterOptions {
  /** Whether handlers get the events that this emitter triggers itself: `true` by default. */
  ownEvents?: boolean;
  /**
   * `false` says that nothing fires here which was triggered before, and that nothing is stored
   * here. Emitters in processes say by their own `persist` whether the topic keeps events.
   */
  persist?: boolean;
  /**
   * A name under which the client's storage keeps up to where events have fired. An emitter with
   * the same name goes on there.
   */
  cursor?: string;
  /** Where to begin, unless the cursor says so: `'$'` by default, which is with the next event. */
  start?: Offset;
}

/** Which events a handler gets: all that fit. */
export interface EventFilter {
  /** A pattern of names, in which `*` stands for any text, or none. */
  name?: string;
  /** Metadata that the event must have. */
  meta?: { [name: string]: string };
}

/** An event that was triggered. */
export interface TopicEvent {
  name: string;
  args: unknown[];
  /** Its position. One that fires again after a crash has the same again. */
  offset: string;
  /** When the server took it. */
  time: Date;
  meta: { [name: string]: string };
}

/** What becomes of an emitter's connection. No event that somebody triggers comes here. */
export interface EmitterStates {
  connect: [target: string];
  disconnect: [];
  reconnect: [target: string];
  /** Something failed: a handler, an event that was refused, events that are gone. */
  error: [error: UpdraftError];
}

/** Triggers events on a topic, and calls handlers for those that are triggered there. */
export interface TopicEmitter {
  /** Resolves when it listens; rejects with the code of the server's refusal. */
  readonly ready: Promise<void>;
  /** What becomes of the connection. Without a handler of `error`, errors go to the console. */
  readonly states: {
    on<Name extends keyof EmitterStates>(
      name: Name,
      handler: Handler<EmitterStates[Name]>,
    ): () => void;
  };
  /** Calls of handlers, and those of them that have thrown or rejected. */
  readonly stats: { fired: number; failed: number };
  /** Adds a handler, which gets the arguments. The function that is returned removes it. */
  on(filter: string | EventFilter, handler: Handler<never[]>): () => void;
  /** Adds a handler that gets the event, with its position, time and metadata. */
  onEvent(filter: string | EventFilter, handler: (event: TopicEvent) => unknown): () => void;
  /**
   * Triggers an event. Resolves with its position when the server has it; until then it is in the
   * client's outbox. Nobody has to wait: `error` tells of what is refused.
   */
  trigger(name: string, ...args: unknown[]): Promise<string>;
  /** The same with metadata. */
  triggerWith(name: string, args: unknown[], meta: { [name: string]: string }): Promise<string>;
  /** Empties the outbox of this topic. One that is on its way may arrive nevertheless. */
  kill(): Promise<void>;
  /** Ends it, and remembers up to where events have fired. The client goes on. */
  close(): Promise<void>;
}

/** How many events may wait to be stored. */
const MOST = 10_000;

/** The topics that clients have emitters on. */
const taken = new WeakMap<Client, Set<string>>();

/**
 * An emitter on a topic. A client has one for each topic, and the topic is its own: it subscribes
 * to it, and leaves it when it is closed.
 *
 * @example
 * const events = emitter(client, 'events', { cursor: 'bell' });
 * events.on('beep', (sound, times) => ring(sound, times));
 * events.states.on('disconnect', () => showOffline());
 * events.trigger('beep', 'boop', 2);
 *
 * @throws UpdraftError `invalid-arguments` if the client has one on this topic, or the options
 * contradict each other.
 */
export function emitter(
  client: Client,
  topic: string,
  options: EmitterOptions = {},
): TopicEmitter {
  return new OnTopic(client, topic, options);
}

interface Listener {
  fits(event: TopicEvent): boolean;
  handle(event: TopicEvent): unknown;
}

class OnTopic implements TopicEmitter {
  readonly ready: Promise<void>;
  readonly states: Emitter<EmitterStates>;
  readonly stats = { fired: 0, failed: 0 };
  readonly #client: Client;
  readonly #topic: string;
  readonly #ownEvents: boolean;
  readonly #persist: boolean;
  readonly #cursor: Cursor | undefined;
  readonly #listeners = new Set<Listener>();
  /** Stands in the events that it triggers. */
  readonly #id = randomId();
  /** Removes what it has added to the client. */
  readonly #removals: (() => void)[];
  #waiting = 0;
  #isClosed = false;

  constructor(client: Client, topic: string, options: EmitterOptions) {
    const { ownEvents = true, persist = true, cursor, start = '$' } = options;
    if (!persist && (cursor !== undefined || options.start !== undefined)) {
      const rule = 'what does not persist has no cursor and no start';
      throw new UpdraftError('invalid-arguments', rule);
    }
    const topics = taken.get(client) ?? new Set();
    taken.set(client, topics);
    if (topics.has(topic)) {
      const rule = 'this client has an emitter on this topic already';
      throw new UpdraftError('invalid-arguments', rule, { channel: topic });
    }
    topics.add(topic);
    this.#client = client;
    this.#topic = topic;
    this.#ownEvents = ownEvents;
    this.#persist = persist;
    this.#cursor = cursor === undefined ? undefined : new Cursor(client, topic, cursor);
    this.states = new Emitter((error) => console.error(error));
    this.#removals = [
      client.on('messages', (channel, messages) => {
        if (channel === topic) for (const message of messages) this.#take(message);
      }),
      client.on('connect', (target) => this.states.emit('connect', target)),
      client.on('reconnect', (target) => this.states.emit('reconnect', target)),
      client.on('disconnect', () => this.states.emit('disconnect')),
      client.on('gap', (channel, gap) => channel === topic && this.#lost('gap', gap)),
      client.on('reset', (channel, reset) => channel === topic && this.#lost('reset', reset)),
      client.on('error', (error) => error.channel === topic && this.#error(error)),
      () => topics.delete(topic),
    ];
    this.ready = this.#open(start);
    this.ready.catch((error: unknown) =>
      this.#error(asUpdraftError(error, 'stopped', { channel: topic })),
    );
  }

  on(filter: string | EventFilter, handler: Handler<never[]>): () => void {
    const apply = handler as (...args: unknown[]) => unknown;
    return this.onEvent(filter, ({ args }) => apply(...args));
  }

  onEvent(filter: string | EventFilter, handler: (event: TopicEvent) => unknown): () => void {
    const listener = { fits: toFits(filter), handle: handler };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  trigger(name: string, ...args: unknown[]): Promise<string> {
    return this.triggerWith(name, args, {});
  }

  triggerWith(name: string, args: unknown[], meta: { [name: string]: string }): Promise<string> {
    const stored = this.#publish(name, args, meta);
    // Who does not wait is told by `error`, and has no unhandled rejection.
    stored.catch((thrown: unknown) => {
      const error = asUpdraftError(thrown, 'not-triggered', { channel: this.#topic });
      // That was done on purpose.
      if (error.code !== 'discarded') this.#error(error);
    });
    return stored;
  }

  async kill(): Promise<void> {
    await this.#client.discard(this.#topic);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const remove of this.#removals) remove();
    this.#listeners.clear();
    // Opening goes on to its end, so that nothing is left subscribed.
    await this.#client.unsubscribe(this.#topic);
    await this.#cursor?.saved();
    if (!this.#persist) await this.#client.clear(this.#topic);
  }

  async #open(start: Offset): Promise<void> {
    const from = (await this.#cursor?.load()) ?? start;
    if (!this.#persist) await this.#client.clear(this.#topic);
    if (this.#isClosed) return;
    await this.#client.subscribe(this.#topic, from);
  }

  async #publish(
    name: string,
    args: unknown[],
    meta: { [name: string]: string },
  ): Promise<string> {
    if (this.#isClosed) throw new UpdraftError('closed', 'the emitter is closed');
    if (typeof name !== 'string')
      throw new UpdraftError('invalid-arguments', 'the name of an event is a text');
    if (this.#waiting >= MOST) throw new UpdraftError('busy', 'too many events wait to be stored');
    this.#waiting += 1;
    try {
      const event = { event: name, args, from: this.#id };
      const hasMeta = Object.keys(meta).length > 0;
      return await this.#client.publish(this.#topic, event, hasMeta ? { meta } : {});
    } finally {
      this.#waiting -= 1;
    }
  }

  #take(message: Message): void {
    const { event: name, args, from, offset } = message;
    const isEvent = typeof name === 'string' && Array.isArray(args);
    if (isEvent && (this.#ownEvents || from !== this.#id)) {
      const { time, meta } = recordOf(message);
      this.#fire({ name, args, offset, time, meta });
    }
    this.#cursor?.save(offset);
  }

  #fire(event: TopicEvent): void {
    for (const listener of [...this.#listeners]) {
      if (!listener.fits(event)) continue;
      this.stats.fired += 1;
      try {
        const returned = listener.handle(event);
        if (returned instanceof Promise) returned.catch((error: unknown) => this.#failed(error));
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  #failed(cause: unknown): void {
    this.stats.failed += 1;
    const place = { channel: this.#topic, cause };
    this.#error(new UpdraftError('handler-failed', 'a handler of an event has thrown', place));
  }

  #lost(code: 'gap' | 'reset', lost: Gap | Reset): void {
    if (code === 'reset') this.#cursor?.clear();
    const text = code === 'gap' ? 'events are gone' : 'the topic is another one than before';
    this.#error(new UpdraftError(code, text, { channel: this.#topic, cause: lost }));
  }

  #error(error: UpdraftError): void {
    if (this.states.count('error') === 0) console.error(error);
    this.states.emit('error', error);
  }
}

/** Up to where events have fired: the position of a channel in the client's store that has no
 * messages. Written one at a time, the latest one. */
class Cursor {
  readonly #client: Client;
  readonly #channel: string;
  #next: string | undefined;
  #mustClear = false;
  #saving: Promise<void> | undefined;

  constructor(client: Client, topic: string, name: string) {
    this.#client = client;
    // No topic has a name with this in it.
    this.#channel = `\u0000emitter ${JSON.stringify([topic, name])}`;
  }

  async load(): Promise<string | undefined> {
    const store = await storeOf(this.#client);
    return (await store.load(this.#channel)).position;
  }

  save(position: string): void {
    this.#next = position;
    this.#saving ??= this.#save();
  }

  /** What was saved is of another life of the topic: positions begin again. */
  clear(): void {
    this.#mustClear = true;
  }

  async saved(): Promise<void> {
    await this.#saving;
  }

  async #save(): Promise<void> {
    try {
      const store = await storeOf(this.#client);
      while (this.#next !== undefined) {
        const position = this.#next;
        this.#next = undefined;
        if (this.#mustClear) await store.clear(this.#channel);
        this.#mustClear = false;
        await store.append(this.#channel, [], position);
      }
    } catch {
      // It is behind then, and events fire again: the next one is saved again.
    } finally {
      this.#saving = undefined;
    }
  }
}

function toFits(filter: string | EventFilter): (event: TopicEvent) => boolean {
  if (typeof filter === 'string') return ({ name }) => name === filter;
  const { name: pattern = '*', meta = {} } = filter;
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const names = new RegExp(`^${parts.join('.*')}$`, 's');
  const wanted = Object.entries(meta);
  return (event) =>
    names.test(event.name) && wanted.every(([name, text]) => event.meta[name] === text);
}
