// Where a subscription begins, and what it does about records that are gone.

import type { Json } from './ejson.js';
import { UpdraftError } from './errors.js';

/**
 * Where a subscription begins:
 *
 * - `'$'`: behind the last message, so with the next one
 * - `'0'`: with the first message that the server has
 * - a position, such as `lastOffset` or the `offset` of a message: behind it
 * - `'snapshot'`: with the latest message of each compact id, then all that follows
 * - `{ last: 20 }`: with the last 20 messages
 * - `{ time }`: with the first message of that time or later
 */
export type Offset = string | { last: number } | { time: Date | number };

/**
 * What a subscription does when messages are gone that it should have got (`onGap`), or when its
 * position is not one of the topic any more (`onReset`):
 *
 * - `earliest`: it goes on with the first message that the server has
 * - `latest`: it goes on with the next message
 * - `snapshot`: it goes on with the latest message of each compact id
 * - `fail`: it ends
 */
export type Policy = 'earliest' | 'latest' | 'snapshot' | 'fail';

/** What a subscription does about messages that are gone. Both are `earliest` by default. */
export interface Policies {
  /** When messages are gone that it should have got. */
  onGap?: Policy;
  /** When its position is not one of the topic any more. */
  onReset?: Policy;
}

/** Messages are gone that a subscription should have got. */
export interface Gap {
  /** How many, if the server knows. */
  lost: number | undefined;
}

/**
 * The position of a subscription is not one of the topic any more. What was received before may be
 * wrong, and is not stored any more.
 */
export interface Reset {
  /**
   * Why: the server's `unknown-epoch`, `ahead` or `diverged`, or `bad-position`; `schema` when what
   * this browser had stored could not be read.
   */
  reason: string | undefined;
}

/** Where to begin, as the publication `topic` takes it. */
export type Start = Json;

/** Reads an offset. @throws UpdraftError `invalid-arguments` for what is none. */
export function toStart(offset: Offset): Start {
  if (offset === '$') return 'latest';
  if (offset === '0') return 'earliest';
  if (typeof offset === 'string' && offset !== '') return offset;
  if (typeof offset === 'object' && offset !== null) {
    if ('last' in offset && Number.isInteger(offset.last) && offset.last >= 0)
      return { last: offset.last };
    if ('time' in offset && Number.isFinite(Number(offset.time))) {
      return { time: { $date: Number(offset.time) } };
    }
  }
  throw new UpdraftError('invalid-arguments', 'this is no offset');
}

/** The position that a start names, if it names one. */
export function positionOf(start: Start): string | undefined {
  const isWord = start === 'latest' || start === 'earliest' || start === 'snapshot';
  return typeof start === 'string' && !isWord ? start : undefined;
}
