// A member of a group: gets records, has them handled, and answers each of them. It has a session
// of its own, because records belong to the session that was given them.

import { type Credentials, login } from '../account.js';
import { Session, type SessionOptions } from '../ddp/session.js';
import type { WireError } from '../ddp/wire.js';
import type { Json } from '../ejson.js';
import { asUpdraftError, textOf, UpdraftError } from '../errors.js';
import { randomId } from '../ids.js';
import { isPassing, retryDelay } from '../leader/refusal.js';
import type { Codec } from '../message.js';
import type { CloseOptions, ConsumeHandler, ConsumeOptions, Consumer, Delivery } from './api.js';
import { type Sent, toDelivery, toSent } from './delivery.js';
import { Lanes, type Outcome } from './lanes.js';

/** How many milliseconds handlers have to end: as long as a record is a client's by default. */
const CLOSE_TIMEOUT = 30_000;

/** The longest time of a timer, in milliseconds. Longer ones fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** What a consumer works with. */
export interface ConsumerParts {
  session: SessionOptions;
  credentials: Credentials | undefined;
  decode: Codec<unknown>;
  /** Told what goes wrong while it works. */
  failed: (error: UpdraftError) => void;
  /** Called at its end. */
  stopped: (consumer: GroupConsumer) => void;
}

/** A record in this client's hands. */
interface Work {
  sent: Sent;
  gone: AbortController;
  /** Whether it is answered, or about to be. */
  isAnswered: boolean;
  timer: ReturnType<typeof setInterval> | undefined;
}

/** Works for a group until it is closed. */
export class GroupConsumer implements Consumer {
  readonly name: string;
  readonly #parts: ConsumerParts;
  readonly #handler: ConsumeHandler;
  readonly #options: ConsumeOptions;
  readonly #session: Session;
  readonly #lanes = new Lanes();
  /** What this client has; emptied when its session is lost. */
  readonly #works = new Set<Work>();
  /** Who waits for a connection. */
  #waiting: (() => void)[] = [];
  #isClosing = false;
  #hasStopped = false;
  #hasSubscribed = false;
  #isLoggingIn = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #settle: { resolve(): void; reject(error: UpdraftError): void } | undefined;

  /** Resolves when the server gives records, rejects if it does not. */
  readonly ready: Promise<void>;

  constructor(
    parts: ConsumerParts,
    name: string,
    handler: ConsumeHandler,
    options: ConsumeOptions = {},
  ) {
    this.name = name;
    this.#parts = parts;
    this.#handler = handler;
    this.#options = options;
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.#session = new Session(parts.session, {
      connected: (_target, resumed) => this.#connected(resumed),
      disconnected: () => clearTimeout(this.#retry),
    });
  }

  get pending(): number {
    return this.#works.size;
  }

  async close({ timeout = CLOSE_TIMEOUT }: CloseOptions = {}): Promise<void> {
    this.#isClosing = true;
    this.#wake();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(timeout, LONGEST_TIMER));
    });
    await Promise.race([this.#lanes.ended(), late]);
    clearTimeout(timer);
    this.stop();
  }

  /** Ends at once. What this client has is given to others. */
  stop(error: UpdraftError = new UpdraftError('closed', 'the consumer is closed')): void {
    if (this.#hasStopped) return;
    this.#hasStopped = true;
    this.#isClosing = true;
    clearTimeout(this.#retry);
    this.#session.stop();
    this.#lose();
    this.#wake();
    this.#settle?.reject(error);
    this.#settle = undefined;
    this.#parts.stopped(this);
  }

  #connected(resumed: boolean): void {
    if (!resumed) {
      this.#hasSubscribed = false;
      this.#lose();
    }
    this.#wake();
    if (!this.#hasSubscribed) void this.#begin();
  }

  /** Lets those look again who wait for a connection. */
  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  async #begin(): Promise<void> {
    const { credentials } = this.#parts;
    if (this.#isClosing || this.#isLoggingIn) return;
    this.#isLoggingIn = true;
    try {
      if (credentials) await login(this.#session, credentials);
    } catch (error) {
      this.#refused(asUpdraftError(error, 'login-failed'));
      return;
    } finally {
      this.#isLoggingIn = false;
    }
    this.#subscribe();
  }

  #subscribe(): void {
    if (this.#isClosing || this.#hasSubscribed || !this.#session.isConnected) return;
    this.#hasSubscribed = true;
    const collection = `work.${randomId()}`;
    const { credit } = this.#options;
    const parameters: Json[] = credit === undefined ? [collection] : [collection, credit];
    this.#session.subscribe(this.name, parameters, collection, {
      document: (id, fields) => {
        const sent = id === 'id' ? toSent(fields['event']) : undefined;
        if (sent) this.#take(sent);
      },
      ready: () => {
        this.#settle?.resolve();
        this.#settle = undefined;
      },
      ended: (error) => this.#ended(error),
    });
  }

  #ended(error: WireError | undefined): void {
    this.#hasSubscribed = false;
    this.#lose();
    const code = error?.code ?? 'stopped';
    const message = error?.message ?? 'the server has ended the subscription';
    this.#refused(new UpdraftError(code, message));
  }

  /** The server has refused to give records. It is asked again if that may pass. */
  #refused(error: UpdraftError): void {
    if (this.#isClosing || error.code === 'connection-lost') return;
    if (isPassing(error.code)) {
      this.#retry = setTimeout(() => void this.#begin(), retryDelay());
      return;
    }
    if (!this.#settle) this.#parts.failed(error);
    this.stop(error);
  }

  /** What this client had is not its own any more. */
  #lose(): void {
    for (const work of [...this.#works]) this.#drop(work);
  }

  #drop(work: Work): void {
    clearInterval(work.timer);
    this.#works.delete(work);
    work.gone.abort();
  }

  #take(sent: Sent): void {
    if (this.#isClosing) return;
    const gone = new AbortController();
    const work: Work = { sent, gone, isAnswered: false, timer: undefined };
    this.#works.add(work);
    // Also while it waits for others of its key.
    work.timer = setInterval(() => void this.#extend(work), sent.ackWait / 3);
    this.#lanes.add(sent.key, async (isDoubtful) => {
      const outcome = await this.#work(work, isDoubtful);
      clearInterval(work.timer);
      this.#works.delete(work);
      return outcome;
    });
  }

  async #work(work: Work, isDoubtful: boolean): Promise<Outcome> {
    // What is behind a record that was not acknowledged is taken back with it, unnoticed so far. That
    // is no fault to tell of.
    if (isDoubtful && !work.gone.signal.aborted) await this.#extend(work, () => {});
    if (work.gone.signal.aborted || this.#isClosing) return 'other';
    let delivery: Delivery;
    try {
      delivery = toDelivery(work.sent, this.#parts.decode, work.gone.signal, {
        extend: () => this.#answer(work, 'extend').then(() => undefined),
        reject: (reason) => this.#finish(work, 'reject', reason ?? null),
      });
    } catch (error) {
      this.#parts.failed(asUpdraftError(error, 'decode-failed'));
      await this.#finish(work, 'reject', textOf(error)).catch(() => {});
      return 'other';
    }
    try {
      await this.#handler(delivery);
    } catch (error) {
      await this.#nack(work, delivery, error);
      return 'other';
    }
    if (work.isAnswered) return 'other';
    return this.#finish(work, 'ack').then(
      () => 'acked',
      (error: unknown) => this.#lateAnswer(error),
    );
  }

  async #nack(work: Work, delivery: Delivery, thrown: unknown): Promise<void> {
    const cause = { cause: thrown };
    const text = `the handler of '${this.name}' has thrown: ${textOf(thrown)}`;
    this.#parts.failed(new UpdraftError('handler-failed', text, cause));
    if (work.isAnswered) return;
    const { delay: given } = this.#options;
    let delay = given;
    if (typeof given === 'function') {
      try {
        delay = given(thrown, delivery);
      } catch (error) {
        this.#parts.failed(asUpdraftError(error, 'handler-failed'));
        delay = undefined;
      }
    }
    const milliseconds = typeof delay === 'number' && delay >= 0 ? delay : null;
    await this.#finish(work, 'nack', milliseconds, textOf(thrown)).catch((error: unknown) =>
      this.#lateAnswer(error),
    );
  }

  /** An answer that nobody takes: the record is another's, and is handled again. */
  #lateAnswer(error: unknown): Outcome {
    const late = asUpdraftError(error, 'connection-lost');
    if (late.code !== 'connection-lost') this.#parts.failed(late);
    return 'other';
  }

  /** Begins the time of a record anew. `failed` is told if it is not this client's any more. */
  async #extend(work: Work, failed = this.#parts.failed): Promise<void> {
    await this.#answer(work, 'extend').catch((error: unknown) => {
      const code = error instanceof UpdraftError ? error.code : undefined;
      if (code !== 'stale' || work.isAnswered || !this.#works.has(work)) return;
      this.#drop(work);
      failed(new UpdraftError('stale', `a record of '${this.name}' took too long`));
    });
  }

  /** Answers for the last time. */
  async #finish(work: Work, verb: string, ...more: Json[]): Promise<void> {
    work.isAnswered = true;
    clearInterval(work.timer);
    await this.#answer(work, verb, ...more);
  }

  /** Answers in the session that was given the record, when that is connected. */
  async #answer(work: Work, verb: string, ...more: Json[]): Promise<Json | undefined> {
    while (!this.#session.isConnected && !this.#isClosing && this.#works.has(work))
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (!this.#works.has(work))
      throw new UpdraftError('connection-lost', 'the record is not this client’s any more');
    return this.#session.call(`${this.name}/${verb}`, [work.sent.token, ...more]);
  }
}
