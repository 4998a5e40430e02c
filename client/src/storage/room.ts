// What is done when there is no more space: the oldest records go, positions stay.

import { isQuotaExceeded, type Store } from './storage.js';

/** How many records are dropped at first; twice as many each time that is not enough. */
const FIRST = 100;

/**
 * Writes into a store, and drops its oldest records as long as there is no room. `evicted` is told
 * of which channel how many were dropped.
 *
 * Rejects with the error named `QuotaExceededError` if there is no room in an empty store either.
 */
export async function withRoom<Result>(
  store: Store,
  write: () => Promise<Result>,
  evicted: (channel: string, count: number) => void,
): Promise<Result> {
  const dropped = new Map<string, number>();
  try {
    for (let count = FIRST; ; count *= 2) {
      try {
        return await write();
      } catch (error) {
        if (!isQuotaExceeded(error)) throw error;
        const gone = await store.evict(count);
        if (!gone) throw error;
        dropped.set(gone.channel, (dropped.get(gone.channel) ?? 0) + gone.count);
      }
    }
  } finally {
    for (const [channel, count] of dropped) evicted(channel, count);
  }
}
