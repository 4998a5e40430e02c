// What goes wrong, by codes that programs can compare.

/** Where an error happened, and what caused it. */
export interface ErrorPlace {
  /** The channel that it concerns. */
  channel?: string | undefined;
  /** The position of the record that it concerns. */
  position?: string | undefined;
  /** What was thrown underneath. */
  cause?: unknown;
}

/**
 * An error of this package or of the server.
 *
 * Codes of the server pass unchanged: `not-authorized`, `unknown-topic`, `too-large`, `403` and so
 * on. Those of this package are listed in its README.
 */
export class UpdraftError extends Error {
  /** What went wrong. It does not change between versions, the text of the message may. */
  readonly code: string;
  /** The channel that it concerns. */
  readonly channel: string | undefined;
  /** The position of the record that it concerns. */
  readonly position: string | undefined;

  constructor(code: string, message: string, place: ErrorPlace = {}) {
    super(message, place.cause === undefined ? undefined : { cause: place.cause });
    this.name = 'UpdraftError';
    this.code = code;
    this.channel = place.channel;
    this.position = place.position;
  }
}

/** The error that something thrown stands for. */
export function asUpdraftError(
  thrown: unknown,
  code: string,
  place: ErrorPlace = {},
): UpdraftError {
  if (thrown instanceof UpdraftError) return thrown;
  return new UpdraftError(code, textOf(thrown), { ...place, cause: thrown });
}

/** What something thrown says. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
