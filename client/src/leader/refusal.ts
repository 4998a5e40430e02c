// Which answers of a server are worth another try.

const PASSING = new Set([
  '503',
  'backend-unavailable',
  'bus-unavailable',
  'busy',
  'shutting-down',
  'too-many-requests',
]);

/** How long to wait before another try, in milliseconds: clients do not all try at once. */
export function retryDelay(): number {
  return 1_000 + Math.random() * 1_000;
}

/** Whether the same may be accepted later. */
export function isPassing(code: string): boolean {
  return PASSING.has(code);
}
