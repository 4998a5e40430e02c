// Storage in IndexedDB: one database for each server and user, which all tabs share.

import { type DBSchema, deleteDB, type IDBPDatabase, openDB } from 'idb';

import type {
  Outbox,
  OutboxEntry,
  Storage,
  Store,
  StoredChannel,
  StoredRecord,
} from './storage.js';

/** The version of the layout. A database of another one is deleted, and the store says so. */
const VERSION = 1;
const PREFIX = 'updraft-client:';

interface Layout extends DBSchema {
  /** Up to where each channel was received. */
  channels: { key: string; value: { channel: string; position: string } };
  records: { key: [string, string]; value: StoredRecord & { channel: string } };
  /** Under growing numbers, so that the order is kept. */
  outbox: { key: number; value: OutboxEntry; indexes: { id: string } };
}

type Database = IDBPDatabase<Layout>;

/** Storage in the IndexedDB of a browser. */
export class IndexedDbStorage implements Storage {
  /** Opens a database. Rejects if there is no IndexedDB, as in some private windows. */
  async open(namespace: string): Promise<Store> {
    const name = PREFIX + namespace;
    const first = await openOrFail(name);
    if (first && isOurs(first)) return new IndexedDbStore(first, false);
    first?.close();
    await deleteDB(name);
    return new IndexedDbStore(await open(name), true);
  }
}

class IndexedDbStore implements Store {
  readonly isPersistent = true;
  readonly isShared = true;
  readonly wasCleared: boolean;
  readonly outbox: Outbox;
  readonly #database: Database;
  /** How many records of a channel are stored, once that was counted. */
  readonly #counts = new Map<string, number>();

  constructor(database: Database, wasCleared: boolean) {
    this.#database = database;
    this.wasCleared = wasCleared;
    this.outbox = new IndexedDbOutbox(database);
  }

  async load(channel: string): Promise<StoredChannel> {
    const transaction = this.#database.transaction(['channels', 'records']);
    const [stored, records] = await Promise.all([
      transaction.objectStore('channels').get(channel),
      transaction.objectStore('records').getAll(all(channel)),
    ]);
    return { records: records.map(bare), position: stored?.position };
  }

  async since(channel: string, position: string): Promise<StoredChannel | undefined> {
    const transaction = this.#database.transaction(['channels', 'records']);
    const [stored, known, records] = await Promise.all([
      transaction.objectStore('channels').get(channel),
      transaction.objectStore('records').getKey([channel, position]),
      transaction.objectStore('records').getAll(behind(channel, position)),
    ]);
    if (known === undefined && stored?.position !== position) return undefined;
    return { records: records.map(bare), position: stored?.position };
  }

  async append(
    channel: string,
    records: readonly StoredRecord[],
    position: string,
  ): Promise<number> {
    const transaction = this.#database.transaction(['channels', 'records'], 'readwrite');
    const channels = transaction.objectStore('channels');
    const target = transaction.objectStore('records');
    const [stored, before] = await Promise.all([
      channels.get(channel),
      this.#counts.get(channel) ?? target.count(all(channel)),
    ]);
    const last = stored?.position ?? '';
    const fresh = records.filter((record) => record.position > last);
    await settled(transaction, [
      ...fresh.map((record) => target.put({ channel, ...record })),
      channels.put({ channel, position: position > last ? position : last }),
    ]);
    this.#counts.set(channel, before + fresh.length);
    return before + fresh.length;
  }

  async clear(channel?: string): Promise<void> {
    const transaction = this.#database.transaction(['channels', 'records'], 'readwrite');
    await settled(transaction, [
      transaction.objectStore('channels').delete(channel ?? IDBKeyRange.lowerBound('')),
      transaction
        .objectStore('records')
        .delete(channel === undefined ? IDBKeyRange.lowerBound([]) : all(channel)),
    ]);
    this.#counts.clear();
  }

  async evict(
    count: number,
    channel?: string,
  ): Promise<{ channel: string; count: number } | undefined> {
    // Nothing is written: a transaction that only deletes needs no room.
    const transaction = this.#database.transaction(['channels', 'records'], 'readwrite');
    const records = transaction.objectStore('records');
    const names =
      channel === undefined ? await transaction.objectStore('channels').getAllKeys() : [channel];
    const counts = await Promise.all(names.map((name) => records.count(all(name))));
    const most = Math.max(...counts);
    const chosen = names[counts.indexOf(most)];
    if (chosen === undefined || most === 0) return undefined;
    const keys = await records.getAllKeys(all(chosen), count);
    await settled(
      transaction,
      keys.map((key) => records.delete(key)),
    );
    this.#counts.set(chosen, most - keys.length);
    return { channel: chosen, count: keys.length };
  }

  async close(): Promise<void> {
    this.#database.close();
  }
}

class IndexedDbOutbox implements Outbox {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async put(entry: OutboxEntry): Promise<void> {
    const transaction = this.#database.transaction('outbox', 'readwrite');
    const known = await transaction.store.index('id').getKey(entry.id);
    await settled(transaction, known === undefined ? [transaction.store.put(entry)] : []);
  }

  async list(): Promise<OutboxEntry[]> {
    return this.#database.getAll('outbox');
  }

  async delete(id: string): Promise<void> {
    const transaction = this.#database.transaction('outbox', 'readwrite');
    const key = await transaction.store.index('id').getKey(id);
    await settled(transaction, key === undefined ? [] : [transaction.store.delete(key)]);
  }
}

/** The database, or nothing if it is one of another version. */
async function openOrFail(name: string): Promise<Database | undefined> {
  try {
    return await open(name);
  } catch (error) {
    if (error instanceof Error && error.name === 'VersionError') return undefined;
    throw error;
  }
}

function open(name: string): Promise<Database> {
  return openDB<Layout>(name, VERSION, {
    upgrade(database) {
      database.createObjectStore('channels', { keyPath: 'channel' });
      database.createObjectStore('records', { keyPath: ['channel', 'position'] });
      const outbox = database.createObjectStore('outbox', { autoIncrement: true });
      outbox.createIndex('id', 'id', { unique: true });
    },
    // Another tab needs another layout. Without this it would wait until this tab is closed.
    blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
  });
}

function isOurs({ objectStoreNames }: Database): boolean {
  return [...objectStoreNames].join(' ') === 'channels outbox records';
}

/**
 * The end of a transaction. Requests that fail reject on their own too; that is not left unhandled,
 * and the transaction's error, which names the reason, is the one that is thrown.
 */
async function settled(
  transaction: { done: Promise<void> },
  requests: Promise<unknown>[],
): Promise<void> {
  for (const request of requests) request.catch(() => {});
  await transaction.done;
}

function all(channel: string): IDBKeyRange {
  return IDBKeyRange.bound([channel], [channel, []]);
}

function behind(channel: string, position: string): IDBKeyRange {
  return IDBKeyRange.bound([channel, position], [channel, []], true);
}

function bare({ position, event }: StoredRecord): StoredRecord {
  return { position, event };
}
