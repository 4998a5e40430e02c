// What a handler gets to work on.

import { isObject, type Json, type JsonObject } from '../ejson.js';
import { type Codec, toPayload } from '../message.js';

/** A record that this client has to handle, until it is answered or its time is over. */
export interface Delivery {
  /** What was published; `undefined` for a deletion (a tombstone). */
  readonly payload: unknown;
  /** The topic that it is from. */
  readonly topic: string;
  /** Its key: those of one key come one after the other. */
  readonly key: string | undefined;
  /** What it is about. */
  readonly compact: string | undefined;
  /** Its metadata. */
  readonly meta: { [name: string]: string };
  /** When the server took it. */
  readonly time: Date;
  /** How often it was delivered, this time included. */
  readonly deliveries: number;
  /** Aborted when it is not this client's any more: its time was over, or its session. */
  readonly signal: AbortSignal;
  /** Begins its time anew. That happens by itself while the handler runs. */
  extend(): Promise<void>;
  /** It can never be handled: it becomes a dead letter, with this reason. */
  reject(reason?: string): Promise<void>;
}

/** What the server has sent, as far as it makes sense. */
export interface Sent {
  token: string;
  event: JsonObject;
  key: string | undefined;
  /** The time that it is this client's, in milliseconds. */
  ackWait: number;
}

/** How long a record is a client's where the server does not say. */
const ACK_WAIT = 30_000;

/** Reads an event; `undefined` for what is none. */
export function toSent(event: Json | undefined): Sent | undefined {
  if (!isObject(event) || typeof event['token'] !== 'string') return undefined;
  const { token, ackWait } = event;
  const isTime = typeof ackWait === 'number' && ackWait > 0;
  return { token, event, key: text(event['key']), ackWait: isTime ? ackWait : ACK_WAIT };
}

/** What its handler gets. Throws what `decode` throws. */
export function toDelivery(
  { event, key }: Sent,
  decode: Codec<unknown>,
  signal: AbortSignal,
  answers: Pick<Delivery, 'extend' | 'reject'>,
): Delivery {
  const { payload, topic, compact, meta, time, deliveries } = event;
  return {
    payload: payload === undefined ? undefined : toPayload(payload, decode),
    topic: text(topic) ?? '',
    key,
    compact: text(compact),
    meta: isObject(meta) ? (meta as { [name: string]: string }) : {},
    time: new Date(typeof time === 'number' ? time : NaN),
    deliveries: typeof deliveries === 'number' ? deliveries : 1,
    signal,
    ...answers,
  };
}

function text(value: Json | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
