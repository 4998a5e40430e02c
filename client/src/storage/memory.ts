// Storage in memory: for programs that need none, and where nothing else works.

import type {
  Outbox,
  OutboxEntry,
  Storage,
  Store,
  StoredChannel,
  StoredRecord,
} from './storage.js';

/** Storage that ends with the process or page. Each call of `open` starts empty. */
export class MemoryStorage implements Storage {
  /** Opens an empty store. */
  async open(): Promise<Store> {
    return new MemoryStore();
  }
}

/** A store in memory. What another store reads at its start can be put into it. */
export class MemoryStore implements Store {
  readonly wasCleared: boolean = false;
  readonly isPersistent: boolean = false;
  readonly isShared: boolean = false;
  readonly #channels = new Map<string, { records: StoredRecord[]; position: string }>();
  readonly outbox: Outbox = new MemoryOutbox();

  async load(channel: string): Promise<StoredChannel> {
    const stored = this.#channels.get(channel);
    return { records: [...(stored?.records ?? [])], position: stored?.position };
  }

  async since(channel: string, position: string): Promise<StoredChannel | undefined> {
    const stored = this.#channels.get(channel);
    if (!stored) return undefined;
    if (position === stored.position) return { records: [], position };
    const index = stored.records.findIndex((record) => record.position === position);
    return index < 0
      ? undefined
      : { records: stored.records.slice(index + 1), position: stored.position };
  }

  async append(
    channel: string,
    records: readonly StoredRecord[],
    position: string,
  ): Promise<number> {
    const stored = this.#channels.get(channel) ?? { records: [], position: '' };
    for (const record of records)
      if (record.position > stored.position) stored.records.push(record);
    if (position > stored.position) stored.position = position;
    this.#channels.set(channel, stored);
    return stored.records.length;
  }

  async clear(channel?: string): Promise<void> {
    if (channel === undefined) this.#channels.clear();
    else this.#channels.delete(channel);
  }

  async evict(
    count: number,
    channel = this.#largest(),
  ): Promise<{ channel: string; count: number } | undefined> {
    const records = channel === undefined ? undefined : this.#channels.get(channel)?.records;
    if (channel === undefined || !records?.length) return undefined;
    return { channel, count: records.splice(0, count).length };
  }

  async close(): Promise<void> {}

  /** All channels that have something, for a store that writes them elsewhere. */
  channels(): Iterable<[string, StoredChannel]> {
    return this.#channels;
  }

  #largest(): string | undefined {
    const sizes = [...this.#channels].map(([channel, { records }]) => ({
      channel,
      size: records.length,
    }));
    return sizes.sort((a, b) => b.size - a.size)[0]?.channel;
  }
}

class MemoryOutbox implements Outbox {
  readonly #entries = new Map<string, OutboxEntry>();

  async put(entry: OutboxEntry): Promise<void> {
    if (!this.#entries.has(entry.id)) this.#entries.set(entry.id, entry);
  }

  async list(): Promise<OutboxEntry[]> {
    return [...this.#entries.values()];
  }

  async delete(id: string): Promise<void> {
    this.#entries.delete(id);
  }
}
