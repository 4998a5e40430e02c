// The parameters of `publish`.

import { toEjson, type Json } from './ejson.js';
import { UpdraftError } from './errors.js';
import { randomId } from './ids.js';
import { type Codec, isPlainObject } from './message.js';
import type { OutboxEntry } from './storage/storage.js';

/** How a message is published. */
export interface PublishOptions {
  /** Its key: messages of one key keep their order wherever they are worked on. */
  key?: string;
  /** An id of your own, by which the server recognises a message that it already has. */
  id?: string;
  /** What it is about: compaction keeps the latest message of each compact id. */
  compact?: string;
  /** Says that what `compact` stands for is deleted. Then the value is `null`. */
  tombstone?: boolean;
  /** Metadata. */
  meta?: { [name: string]: string };
}

/**
 * The entry of the outbox for what was given to `publish` behind the channel: keys and values by
 * turns, or a value and options.
 *
 * @throws UpdraftError `invalid-arguments`, and what `encode` throws.
 */
export function toEntry(
  channel: string,
  parameters: readonly unknown[],
  encode: Codec<unknown>,
): OutboxEntry {
  const { value, options } = read(parameters);
  const { id = randomId(), key, compact, tombstone, meta } = options;
  const record: { [name: string]: Json } = {};
  if (!tombstone) record['payload'] = toEjson(encoded(value, encode));
  if (key !== undefined) record['key'] = key;
  if (compact !== undefined) record['compact'] = compact;
  if (tombstone) record['tombstone'] = true;
  if (meta !== undefined) record['meta'] = meta;
  return { id, channel, record };
}

function read(parameters: readonly unknown[]): { value: unknown; options: PublishOptions } {
  const [first, second] = parameters;
  if (typeof first === 'string')
    return { value: Object.fromEntries(pairs(parameters)), options: {} };
  const options = second ?? {};
  if (
    parameters.length < 1 ||
    parameters.length > 2 ||
    first === undefined ||
    !isPlainObject(options)
  ) {
    throw invalidCount();
  }
  const { tombstone = false, compact } = options as PublishOptions;
  if (tombstone !== (first === null) || (tombstone && compact === undefined)) {
    const rule = 'A tombstone has the value null and a compact id, and nothing else is null!';
    throw new UpdraftError('invalid-arguments', rule);
  }
  return { value: first, options };
}

/** Keys with their values. */
function pairs(parameters: readonly unknown[]): [string, unknown][] {
  if (parameters.length % 2 !== 0) throw invalidCount();
  const found: [string, unknown][] = [];
  for (let index = 0; index < parameters.length; index += 2) {
    const key = parameters[index];
    if (typeof key !== 'string')
      throw new UpdraftError('invalid-arguments', 'A key is not a string!');
    found.push([key, parameters[index + 1]]);
  }
  return found;
}

function encoded(value: unknown, encode: Codec<unknown>): unknown {
  if (!isPlainObject(value)) return encode(value);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, encode(member)]));
}

/** In the words that programs know. */
function invalidCount(): UpdraftError {
  return new UpdraftError('invalid-arguments', 'Invalid argument count!');
}
