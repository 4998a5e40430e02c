// The events of a client.

import type { UpdraftError } from './errors.js';
import type { Message } from './message.js';
import type { Gap, Reset } from './offset.js';

/** The events of a client, with the parameters of their handlers. */
export interface ClientEvents {
  /** The first connection is there, with this target. */
  connect: [target: string];
  /** A later connection is there. */
  reconnect: [target: string];
  /** The connection is lost. The client connects again by itself. */
  disconnect: [];
  /** What was published to a channel has reached the server, from this page or an earlier one. */
  published: [channel: string, offset: string];
  /** Messages of a channel, in order. They are stored already. */
  messages: [channel: string, messages: Message[]];
  /** Something failed that no promise tells of. Without a handler it is written to the console. */
  error: [error: UpdraftError];
  /** Messages are gone that should have come. What follows comes after this event. */
  gap: [channel: string, gap: Gap];
  /** What was received before may be wrong. It is not stored any more. */
  reset: [channel: string, reset: Reset];
  /** All messages have come that there were, at first and after each time without a connection. */
  caughtup: [channel: string, position: string];
  /** Stored messages were dropped to make room. */
  evicted: [channel: string, count: number];
}
