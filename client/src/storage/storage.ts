// Where messages, positions and what is to be published are kept: the interface that IndexedDB,
// files and memory implement, and that programs may implement for others.

import type { Json, JsonObject } from '../ejson.js';

/**
 * A record of a topic, as the server sent it. All of it is JSON; the payload is EJSON that is not
 * decoded.
 */
export interface StoredRecord {
  /** The position of the record. Positions of one topic sort as strings. */
  position: string;
  /** `payload`, `key`, `meta` and `time`, of which `time` alone is always there. */
  event: JsonObject;
}

/** What is stored of a channel. */
export interface StoredChannel {
  /** The stored records, oldest first. */
  records: StoredRecord[];
  /** Up to where the channel was received. It may be later than the last record. */
  position: string | undefined;
}

/** Something to publish. */
export interface OutboxEntry {
  /** The id by which the server recognises an entry that it already has. */
  id: string;
  /** The channel. */
  channel: string;
  /** Whose parameter of `publish` this is, without channel and id. It is EJSON. */
  record: { [name: string]: Json };
}

/**
 * What one user of one server has stored. No call fails because of what another has written.
 *
 * A call that would need more space than there is rejects with an error named `QuotaExceededError`
 * and changes nothing.
 */
export interface Store {
  /** Whether what was stored could not be read, and is gone. */
  readonly wasCleared: boolean;
  /** Whether it outlives this process or page. */
  readonly isPersistent: boolean;
  /** Whether all pages of the browser see the same. */
  readonly isShared: boolean;
  /** All that is stored of a channel. */
  load(channel: string): Promise<StoredChannel>;
  /**
   * What is stored behind a position; `undefined` if the position is neither that of a stored
   * record nor that of the channel.
   */
  since(channel: string, position: string): Promise<StoredChannel | undefined>;
  /**
   * Appends records and sets the position of the channel, both in one transaction. Records at or
   * before the stored position are there already and are skipped; the position never goes back.
   * Returns how many records of the channel are stored.
   */
  append(channel: string, records: readonly StoredRecord[], position: string): Promise<number>;
  /** Forgets a channel, its position included. Without a channel: all of them. */
  clear(channel?: string): Promise<void>;
  /**
   * Drops the oldest records of a channel, or else of the channel that has most, and keeps the
   * position. Returns the channel and how many were dropped; `undefined` if there are none.
   */
  evict(count: number, channel?: string): Promise<{ channel: string; count: number } | undefined>;
  /** What waits to be published. */
  readonly outbox: Outbox;
  /** Closes the store. Later calls reject. */
  close(): Promise<void>;
}

/** What waits to be published, in the order in which it was put. */
export interface Outbox {
  /** Adds an entry. One with the same id is kept as it is. */
  put(entry: OutboxEntry): Promise<void>;
  /** All entries, oldest first. */
  list(): Promise<OutboxEntry[]>;
  /** Removes an entry. */
  delete(id: string): Promise<void>;
}

/** A kind of storage. */
export interface Storage {
  /** Opens the store of a namespace, which is a server and a user, as text. */
  open(namespace: string): Promise<Store>;
}

/** Whether an error says that there is no more space. */
export function isQuotaExceeded(error: unknown): boolean {
  return error instanceof Error && error.name === 'QuotaExceededError';
}
