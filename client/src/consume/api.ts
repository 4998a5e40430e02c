// What programs see of a consumer.

/** An `AbortSignal`, where the types of the platform have one. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer Found } }
  ? Found
  : { readonly aborted: boolean };

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
  /**
   * A number that grows with each delivery of the record, and of those of its key: an effect that
   * must not be repeated by who comes late is written with it, and refused if a higher one is there.
   */
  readonly generation: number;
  /** Aborted when it is not this client's any more: its time was over, or its session. */
  readonly signal: Signal;
  /** Begins its time anew. That happens by itself while the handler runs. */
  extend(): Promise<void>;
  /** It can never be handled: it becomes a dead letter, with this reason. */
  reject(reason?: string): Promise<void>;
}

/** Handles a record. If it throws, or if its promise rejects, the record is delivered again. */
export type ConsumeHandler = (delivery: Delivery) => unknown;

/** How a client works for a group. */
export interface ConsumeOptions {
  /** How many records it has at once: 16 by default, at most 1,000. */
  credit?: number;
  /**
   * After how many milliseconds a record is delivered again for which the handler has thrown. By
   * default the group's own list of waits decides.
   */
  delay?: number | ((error: unknown, delivery: Delivery) => number | undefined);
}

/** Works for a group until it is closed. Made by `Client.consume`. */
export interface Consumer {
  /** The name under which the server lets clients work. */
  readonly name: string;
  /** How many records it has. */
  readonly pending: number;
  /**
   * Begins nothing more, and resolves when all that runs has ended and is answered, or after
   * `timeout`. What had not begun, and what has not ended then, is given to others.
   */
  close(options?: CloseOptions): Promise<void>;
}

/** How a consumer, or a client with consumers, ends. */
export interface CloseOptions {
  /** How many milliseconds handlers have to end: 30,000 by default. */
  timeout?: number;
}
