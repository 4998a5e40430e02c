// How long to wait before the next attempt. Clients that lost their server at the same moment must
// not all come back at the same moment.

/** Limits of the waits between attempts, in milliseconds. */
export interface Backoff {
  /** The longest wait before the first attempt. It doubles with each attempt. */
  first: number;
  /** The longest wait of all. */
  most: number;
}

/** The wait before an attempt after `failed` others: half of the longest or more. */
export function waitBefore(
  failed: number,
  { first, most }: Backoff,
  random = Math.random(),
): number {
  const longest = Math.min(most, first * 2 ** Math.min(failed, 30));
  return longest * (0.5 + random / 2);
}
