// A session of DDP with one of several targets. It outlives its sockets: lost ones are replaced,
// and the server is asked to go on with the session. If it does not, calls and subscriptions of the
// old session have ended, and the user begins again in the new one.

import { UpdraftError } from '../errors.js';
import type { Json, JsonObject } from '../ejson.js';
import { randomId } from '../ids.js';
import { type Backoff, waitBefore } from './backoff.js';
import { Heartbeat, type HeartbeatTimes } from './heartbeat.js';
import { Link, type WebSocketClass } from './link.js';
import { readMessage, type ServerMessage, type WireError } from './wire.js';

/** Where and how to connect. */
export interface SessionOptions {
  /** Addresses of one service, in the order in which they are tried. */
  targets: readonly string[];
  WebSocket: WebSocketClass;
  backoff: Backoff;
  heartbeat: HeartbeatTimes;
}

/** Who uses a session. */
export interface SessionUser {
  /** A session is there: a new one, or the former one that goes on. */
  connected(target: string, resumed: boolean): void;
  /** The connection is lost. The next one is on its way. */
  disconnected(): void;
}

/** Who uses a subscription. Nothing is told after `ended`, nor when the session has ended. */
export interface SubscriptionUser {
  /** A document of the collection that the subscription named. */
  document(id: string, fields: JsonObject): void;
  ready(): void;
  /** The server has ended it. */
  ended(error: WireError | undefined): void;
}

interface Call {
  message: object;
  resolve(result: Json | undefined): void;
  reject(error: UpdraftError): void;
}

interface Subscription {
  id: string;
  collection: string;
  user: SubscriptionUser;
}

/** How long a connection must live until the next loss counts as the first. */
const STEADY = 5_000;
/** The code with which a server ends a connection on which too large a message was sent. */
const TOO_LARGE = 1009;
/** How long a target has until it has answered `connect`. */
const PATIENCE = 10_000;

/** A session, over as many connections as it takes. */
export class Session {
  readonly #options: SessionOptions;
  readonly #user: SessionUser;
  /** Absent while no connection is under way. */
  #link: Link | undefined;
  #heartbeat: Heartbeat | undefined;
  /** The next attempt, or the end of the patience with the one under way. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  #connectedAt: number | undefined;
  /** The target of the connection, or of the next attempt. */
  #target = 0;
  /** How many targets have failed in a row. */
  #failures = 0;
  /** The name of the session at the server, and how many of its messages have come. */
  #session: string | undefined;
  #received = 0;
  #lastCall = 0;
  /** Calls without a result, by id. Those of a session that goes on are sent again. */
  readonly #calls = new Map<string, Call>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #collections = new Map<string, Subscription>();
  /** Ids of each `sub` and `unsub` that has no answer. */
  readonly #unanswered = new Set<string>();
  /** What is done when pings of this connection are answered, by their ids. */
  readonly #pings = new Map<string, () => void>();
  readonly #online = () => this.#retryNow();

  constructor(options: SessionOptions, user: SessionUser) {
    this.#options = options;
    this.#user = user;
    globalThis.addEventListener?.('online', this.#online);
    this.#connect();
  }

  get isConnected(): boolean {
    return this.#connectedAt !== undefined;
  }

  /**
   * Calls a method.
   *
   * @throws UpdraftError with the server's code, or `connection-lost` when it is not known whether
   * the method ran.
   */
  call(method: string, parameters: Json[]): Promise<Json | undefined> {
    return new Promise((resolve, reject) => {
      if (!this.isConnected) {
        reject(connectionLost());
        return;
      }
      const id = String(++this.#lastCall);
      const message = { msg: 'method', method, params: parameters, id };
      this.#calls.set(id, { message, resolve, reject });
      this.#link?.send(message);
    });
  }

  /**
   * Subscribes, while connected. Documents of the collection are the subscription's own. Returns
   * what ends it.
   */
  subscribe(
    name: string,
    parameters: Json[],
    collection: string,
    user: SubscriptionUser,
  ): () => void {
    const subscription = { id: randomId(), collection, user };
    this.#subscriptions.set(subscription.id, subscription);
    this.#collections.set(collection, subscription);
    this.#unanswered.add(subscription.id);
    this.#link?.send({ msg: 'sub', id: subscription.id, name, params: parameters });
    return () => {
      if (!this.#forget(subscription.id)) return;
      this.#unanswered.add(subscription.id);
      this.#link?.send({ msg: 'unsub', id: subscription.id });
    };
  }

  /** Calls a function when all has come that was sent so far, unless the connection ends. */
  whenDrained(action: () => void): void {
    const id = randomId();
    this.#pings.set(id, action);
    this.#link?.send({ msg: 'ping', id });
  }

  /** Ends the session, and tells the server that it will not come back. */
  stop(): void {
    this.#stopped = true;
    globalThis.removeEventListener?.('online', this.#online);
    clearTimeout(this.#timer);
    if (this.isConnected) this.#link?.send({ msg: 'disconnect' });
    this.#link?.close();
    this.#endSession();
  }

  #connect(): void {
    const url = this.#options.targets[this.#target] ?? '';
    try {
      const link = new Link(this.#options.WebSocket, url, {
        opened: () => link.send(this.#greeting()),
        received: (text) => this.#receive(url, text),
        ended: (code) => this.#ended(code),
      });
      this.#link = link;
      this.#timer = setTimeout(() => link.close(), PATIENCE);
    } catch {
      this.#ended();
    }
  }

  #greeting(): object {
    const greeting = { msg: 'connect', version: '1', support: ['1'] };
    if (this.#session === undefined) return greeting;
    return { ...greeting, session: this.#session, receivedCount: this.#received };
  }

  #receive(url: string, text: string): void {
    const message = readMessage(text);
    this.#heartbeat?.heard();
    if (message.msg === 'ping') {
      this.#link?.send({ msg: 'pong', id: message.id });
    } else if (message.msg === 'connected') {
      if (!this.isConnected) this.#open(url, message.session);
    } else if (message.msg === 'failed') {
      this.#link?.close();
    } else if (message.msg === 'pong') {
      this.#pings.get(message.id ?? '')?.();
      this.#pings.delete(message.id ?? '');
    } else {
      // What is not understood counts too, as it did for the server.
      this.#received += 1;
      this.#handle(message);
    }
  }

  #open(target: string, session: string): void {
    clearTimeout(this.#timer);
    const resumed = session === this.#session;
    if (!resumed) this.#endSession();
    this.#session = session;
    this.#received = resumed ? this.#received + 1 : 1;
    this.#connectedAt = performance.now();
    const link = this.#link;
    this.#heartbeat = new Heartbeat(
      this.#options.heartbeat,
      () => link?.send({ msg: 'ping' }),
      () => link?.close(),
    );
    for (const { message } of this.#calls.values()) link?.send(message);
    for (const id of this.#unanswered) link?.send({ msg: 'unsub', id });
    this.#user.connected(target, resumed);
  }

  #handle(message: ServerMessage): void {
    switch (message.msg) {
      case 'document':
        this.#collections.get(message.collection)?.user.document(message.id, message.fields);
        break;
      case 'ready':
        for (const id of message.subs) {
          this.#unanswered.delete(id);
          this.#subscriptions.get(id)?.user.ready();
        }
        break;
      case 'nosub':
        this.#unanswered.delete(message.id);
        this.#forget(message.id)?.user.ended(message.error);
        break;
      case 'result': {
        const call = this.#calls.get(message.id);
        this.#calls.delete(message.id);
        if (message.error)
          call?.reject(new UpdraftError(message.error.code, message.error.message));
        else call?.resolve(message.result);
        break;
      }
      default:
        break;
    }
  }

  /** A link has ended, or could not be made: the next one follows. */
  #ended(code?: number): void {
    this.#link = undefined;
    if (code === TOO_LARGE) this.#refuseLargest();
    this.#pings.clear();
    this.#heartbeat?.stop();
    clearTimeout(this.#timer);
    const livedFor =
      this.#connectedAt === undefined ? undefined : performance.now() - this.#connectedAt;
    this.#connectedAt = undefined;
    if (this.#stopped) return;
    // Whether the server has these is not known, so the next session is a new one.
    if ([...this.#unanswered].some((id) => this.#subscriptions.has(id))) this.#endSession();
    this.#timer = setTimeout(() => this.#connect(), this.#wait(livedFor));
    if (livedFor !== undefined) this.#user.disconnected();
  }

  /** The server has ended the connection for a message that it will never take. Nothing larger than
   * a call is sent: sent again, it would end the next connection too. */
  #refuseLargest(): void {
    const sizes = [...this.#calls].map(
      ([id, { message }]) => [JSON.stringify(message).length, id] as const,
    );
    const [largest] = sizes.sort(([one], [other]) => other - one);
    const call = largest && this.#calls.get(largest[1]);
    if (!call) return;
    this.#calls.delete(largest[1]);
    const rule = 'the server takes no message of this size; make it smaller';
    call.reject(new UpdraftError('too-large', rule));
  }

  /** Chooses the next target, and how long to wait for the attempt. */
  #wait(livedFor: number | undefined): number {
    const { targets, backoff } = this.#options;
    if (livedFor !== undefined) {
      // The server that has the session is tried first. One that drops its clients soon is left
      // alone ever longer.
      this.#failures = livedFor > STEADY ? 0 : this.#failures + targets.length;
      return waitBefore(Math.floor(this.#failures / targets.length), backoff);
    }
    this.#failures += 1;
    this.#target = (this.#target + 1) % targets.length;
    // The other targets are tried at once; the wait is before the first of them is tried again.
    const isNextRound = this.#failures % targets.length === 0;
    return isNextRound ? waitBefore(this.#failures / targets.length - 1, backoff) : 0;
  }

  /** The network is back: there is nothing to wait for. */
  #retryNow(): void {
    if (this.#link || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  #endSession(): void {
    this.#session = undefined;
    this.#received = 0;
    this.#subscriptions.clear();
    this.#collections.clear();
    this.#unanswered.clear();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(connectionLost());
  }

  #forget(id: string): Subscription | undefined {
    const subscription = this.#subscriptions.get(id);
    this.#subscriptions.delete(id);
    if (subscription) this.#collections.delete(subscription.collection);
    return subscription;
  }
}

function connectionLost(): UpdraftError {
  return new UpdraftError(
    'connection-lost',
    'the connection was lost before the server had answered',
  );
}
