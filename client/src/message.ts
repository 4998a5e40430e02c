// Messages, as programs get them, from records as they are stored.

import { fromEjson, isObject, type Json } from './ejson.js';
import type { OutboxEntry, StoredRecord } from './storage/storage.js';

/**
 * A message of a channel: the members that were published, and `offset`, the position behind it.
 *
 * What was published as something else than an object is the member `value`. A deletion (a
 * tombstone) has `offset` only. {@link recordOf} tells what else the server says of it.
 */
export interface Message {
  /** Its position. Given to `subscribe`, it means: go on behind this message. */
  offset: string;
  [name: string]: unknown;
}

/** What the server says of a message, beside what was published. */
export interface RecordInfo {
  /** When the server took it. */
  time: Date;
  /** Its key: messages of one key keep their order wherever they are worked on. */
  key: string | undefined;
  /** What it is about: compaction keeps the latest message of each compact id. */
  compact: string | undefined;
  /** Its metadata. */
  meta: { [name: string]: string };
  /** Whether it says that what its compact id stood for is deleted. */
  isTombstone: boolean;
}

/** Something that waits to be published. */
export interface Unsent {
  /** The id by which the server recognises it. */
  id: string;
  /** What was published, with the members that its message will have; `offset` comes later. */
  message: { [name: string]: unknown };
}

/** Turns a value into what is sent, or back. */
export type Codec<To> = (value: unknown) => To;

const RECORD = Symbol('record');

/**
 * What the server says of a message.
 *
 * @example
 * client.on('messages', (channel, messages) => {
 *   for (const message of messages) console.log(recordOf(message).time, message.order);
 * });
 */
export function recordOf(message: Message): RecordInfo {
  const record = (message as { [RECORD]?: RecordInfo })[RECORD];
  if (!record) throw new TypeError('this is no message of a channel, or a copy of one');
  return record;
}

/** The message of a record. Throws what `decode` throws. */
export function toMessage({ position, event }: StoredRecord, decode: Codec<unknown>): Message {
  const { payload, key, compact, meta, time } = event;
  const message: Message = { offset: position, ...members(payload, decode) };
  message.offset = position;
  const record: RecordInfo = {
    time: toDate(time),
    key: typeof key === 'string' ? key : undefined,
    compact: typeof compact === 'string' ? compact : undefined,
    meta: isObject(meta) ? (meta as { [name: string]: string }) : {},
    isTombstone: payload === undefined,
  };
  // Not enumerable, so that a message has the members that were published and no others.
  Object.defineProperty(message, RECORD, { value: record });
  return message;
}

/** What waits in the outbox, as programs get it. Throws what `decode` throws. */
export function toUnsent({ id, record }: OutboxEntry, decode: Codec<unknown>): Unsent {
  return { id, message: members(record['payload'], decode) };
}

function members(payload: Json | undefined, decode: Codec<unknown>): { [name: string]: unknown } {
  if (payload === undefined) return {};
  const value = fromEjson(payload);
  return isPlainObject(value) ? decodeMembers(value, decode) : { value: decode(value) };
}

/** What was published: the members of an object are decoded, or a value that is none. */
export function toPayload(payload: Json, decode: Codec<unknown>): unknown {
  const value = fromEjson(payload);
  return isPlainObject(value) ? decodeMembers(value, decode) : decode(value);
}

function decodeMembers(
  object: { [name: string]: unknown },
  decode: Codec<unknown>,
): { [name: string]: unknown } {
  return Object.fromEntries(Object.entries(object).map(([name, member]) => [name, decode(member)]));
}

/** Whether a value is an object that has members only, no date, array or the like. */
export function isPlainObject(value: unknown): value is { [name: string]: unknown } {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function toDate(time: Json | undefined): Date {
  const value = fromEjson(time ?? null);
  return value instanceof Date ? value : new Date(typeof value === 'number' ? value : NaN);
}
