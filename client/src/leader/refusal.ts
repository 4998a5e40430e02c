// Which answers of a server are worth another try.

const PASSING = new Set(['503', 'backend-unavailable', 'bus-unavailable', 'busy', 'shutting-down', 'too-many-requests']);

/** How long to wait before another try, in milliseconds. */
export const RETRY_DELAY = 1_000;

/** Whether the same may be accepted later. */
export function isPassing(code: string): boolean {
  return PASSING.has(code);
}
