// The subscription to one topic, over as many sessions as it takes: each begins behind what the one
// before has brought. What comes is handed on in order, one thing at a time, in batches that grow
// while the receiver is busy.

import type { Session } from '../ddp/session.js';
import type { WireError } from '../ddp/wire.js';
import { isObject, type Json, type JsonObject } from '../ejson.js';
import { UpdraftError } from '../errors.js';
import { randomId } from '../ids.js';
import type { Gap, Policies, Reset, Start } from '../offset.js';
import type { StoredRecord } from '../storage/storage.js';
import { isPassing, retryDelay } from './refusal.js';

/** Who gets what a topic brings. The next call comes when the promise of the one before is kept. */
export interface FollowUser {
  records(records: StoredRecord[], position: string): Promise<void>;
  gap(gap: Gap): Promise<void>;
  reset(reset: Reset): Promise<void>;
  /** All up to this position is received, though the last of it was not for this user. */
  progress(position: string): Promise<void>;
  /** All is received that there was, up to this position. */
  caughtUp(position: string): Promise<void>;
  /** Caught up for the first time, or again in a new session. */
  ready(): Promise<void>;
  /** It has ended, for good. */
  ended(error: UpdraftError): Promise<void>;
}

type Item =
  | { kind: 'record'; record: StoredRecord }
  | { kind: 'gap'; gap: Gap }
  | { kind: 'reset'; reset: Reset }
  | { kind: 'progress' | 'live'; position: string }
  | { kind: 'ready' }
  | { kind: 'ended'; error: UpdraftError };

/** States of a subscription that has not got what it should have. */
const LOSSES = new Set<Json | undefined>(['gap', 'reset']);
/** How many records the user gets at a time. */
const BATCH = 256;
/** How many may wait for the user. Then the subscription ends, and begins again behind them. */
const MOST_WAITING = 10_000;

/** A topic that is followed. */
export class Follow {
  readonly #session: Session;
  readonly #channel: string;
  readonly #policies: Required<Policies>;
  readonly #user: FollowUser;
  #start: Start;
  /** The position behind all that has come, whether the user has got it or not. */
  #received: string | undefined;
  /** Ends the subscription of this session; absent while there is none. */
  #unsubscribe: (() => void) | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** What waits for the user. */
  #waiting: Item[] = [];
  #isHandingOn = false;
  /** Whether it was ended because too much waits. */
  #isPaused = false;
  #isStopped = false;
  /** Whether this subscription has got all that there was. */
  #isCaughtUp = false;

  constructor(
    session: Session,
    channel: string,
    start: Start,
    policies: Required<Policies>,
    user: FollowUser,
  ) {
    this.#session = session;
    this.#channel = channel;
    this.#start = start;
    this.#policies = policies;
    this.#user = user;
  }

  /** Subscribes, if it has not. Called when there is a session, and in each new one. */
  begin(): void {
    clearTimeout(this.#retry);
    if (this.#isStopped || this.#isPaused || this.#unsubscribe || !this.#session.isConnected)
      return;
    const collection = `topic.${randomId()}`;
    const from = this.#received ?? this.#start;
    const options: JsonObject = { topic: this.#channel, from, ...this.#policies };
    this.#isCaughtUp = false;
    let noted: string | undefined;
    this.#unsubscribe = this.#session.subscribe('topic', [collection, options], collection, {
      document: (id, fields) => {
        if (id === 'id') this.#takeRecord(fields);
        else if (id === '_') {
          // The opening says where the subscription begins. Only behind the last record that is
          // what it has received.
          const isOpening = noted === undefined;
          if (!isOpening || LOSSES.has(fields['state'])) this.#takeState(fields);
          else if (from === 'latest') this.#takeState({ position: fields['position'] ?? null });
          noted = text(fields['position']) ?? noted ?? '';
        }
      },
      ready: () => {
        // A start behind the last record is caught up from the beginning.
        if (!this.#isCaughtUp && noted) this.#takeState({ state: 'live', position: noted });
        this.#add({ kind: 'ready' });
      },
      ended: (error) => this.#takeEnd(error),
    });
  }

  /** The session goes on, and what was missed has come. The server does not say so again. */
  resumed(): void {
    if (this.#isCaughtUp && this.#received !== undefined)
      this.#add({ kind: 'live', position: this.#received });
  }

  /** The session is gone, and its subscription with it. */
  lost(): void {
    clearTimeout(this.#retry);
    this.#unsubscribe = undefined;
    this.#isPaused = false;
  }

  /** Ends it. The user is told nothing more, except by a call that is under way. */
  stop(): void {
    this.#isStopped = true;
    this.#waiting = [];
    clearTimeout(this.#retry);
    this.#unsubscribe?.();
  }

  #takeRecord(fields: JsonObject): void {
    const position = text(fields['position']);
    const event = fields['event'];
    if (position === undefined || !isObject(event)) return;
    if (this.#received !== undefined && position <= this.#received) return;
    this.#received = position;
    this.#add({ kind: 'record', record: { position, event } });
    if (this.#waiting.length < MOST_WAITING) return;
    this.#isPaused = true;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }

  /** Takes where the subscription stands. */
  #takeState(fields: JsonObject): void {
    const position = text(fields['position']);
    switch (fields['state']) {
      case 'gap':
        this.#add({ kind: 'gap', gap: toGap(fields) });
        break;
      case 'reset':
        // What was received so far says nothing any more. `latest` goes on behind the last record.
        this.#received = this.#policies.onReset === 'latest' ? position : undefined;
        this.#start = this.#policies.onReset;
        this.#add({ kind: 'reset', reset: toReset(fields) });
        break;
      default:
        if (position === undefined) break;
        if (fields['state'] === 'live') this.#isCaughtUp = true;
        if (this.#received === undefined || position > this.#received) this.#received = position;
        this.#add({
          kind: fields['state'] === 'live' ? 'live' : 'progress',
          position: this.#received,
        });
    }
  }

  #takeEnd(error: WireError | undefined): void {
    this.#unsubscribe = undefined;
    const code = error?.code ?? 'stopped';
    if (isPassing(code)) {
      this.#retry = setTimeout(() => this.begin(), retryDelay());
      return;
    }
    const details = isObject(error?.details) ? error.details : {};
    if (code === 'gap') this.#add({ kind: 'gap', gap: toGap(details) });
    if (code === 'reset') this.#add({ kind: 'reset', reset: toReset(details) });
    const message = error?.message ?? 'the server has ended the subscription';
    this.#add({
      kind: 'ended',
      error: new UpdraftError(code, message, { channel: this.#channel }),
    });
  }

  #add(item: Item): void {
    if (this.#isStopped) return;
    this.#waiting.push(item);
    if (!this.#isHandingOn) void this.#handOn();
  }

  async #handOn(): Promise<void> {
    this.#isHandingOn = true;
    while (this.#waiting.length > 0) {
      const records = this.#nextRecords();
      const last = records.at(-1);
      if (last) await this.#user.records(records, last.position);
      else await this.#handOnOne(this.#waiting.shift());
    }
    this.#isHandingOn = false;
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.begin();
  }

  /** The records at the head of what waits, up to a batch. */
  #nextRecords(): StoredRecord[] {
    const records: StoredRecord[] = [];
    for (const item of this.#waiting) {
      if (item.kind !== 'record' || records.length === BATCH) break;
      records.push(item.record);
    }
    this.#waiting.splice(0, records.length);
    return records;
  }

  async #handOnOne(item: Item | undefined): Promise<void> {
    switch (item?.kind) {
      case 'gap':
        return this.#user.gap(item.gap);
      case 'reset':
        return this.#user.reset(item.reset);
      case 'progress':
        return this.#user.progress(item.position);
      case 'live':
        return this.#user.caughtUp(item.position);
      case 'ready':
        return this.#user.ready();
      case 'ended':
        return this.#user.ended(item.error);
      default:
        return undefined;
    }
  }
}

function toGap(fields: JsonObject): Gap {
  return { lost: typeof fields['lost'] === 'number' ? fields['lost'] : undefined };
}

function toReset(fields: JsonObject): Reset {
  return { reason: text(fields['reason']) };
}

function text(value: Json | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
