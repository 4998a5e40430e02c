// Deliveries, as the server sends them and as handlers get them.

import { isObject, type Json, type JsonObject } from '../ejson.js';
import { type Codec, toPayload } from '../message.js';
import type { Delivery } from './api.js';

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
  const { payload, topic, compact, meta, time, deliveries, generation } = event;
  return {
    payload: payload === undefined ? undefined : toPayload(payload, decode),
    topic: text(topic) ?? '',
    key,
    compact: text(compact),
    meta: isObject(meta) ? (meta as { [name: string]: string }) : {},
    time: new Date(typeof time === 'number' ? time : NaN),
    deliveries: typeof deliveries === 'number' ? deliveries : 1,
    generation: typeof generation === 'number' ? generation : 0,
    signal,
    ...answers,
  };
}

function text(value: Json | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
