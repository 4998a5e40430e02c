// Storage in a folder, for Node. Each server and user has a journal: one line for each change, so
// that a change is there wholly or not at all. What it holds is kept in memory too.

import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';

import { lock, unlock } from './lock.js';
import { MemoryStore } from './memory.js';
import type {
  Outbox,
  OutboxEntry,
  Storage,
  Store,
  StoredChannel,
  StoredRecord,
} from './storage.js';

/** The first line of a journal. One with another first line is cleared, and the store says so. */
const HEADER = { format: 'updraft-client', version: 1 };
/** A journal is written anew when it has this many lines more than it needs. */
const SPARE_LINES = 1_000;

type Change =
  | { do: 'append'; channel: string; records: readonly StoredRecord[]; position: string }
  | { do: 'clear'; channel?: string | undefined }
  | { do: 'evict'; channel: string; count: number }
  | { do: 'put'; entry: OutboxEntry }
  | { do: 'delete'; id: string };

/**
 * Storage in a folder. One process at a time can have a store of it open.
 *
 * @example
 * new Client({ targets: 'orders.example', storage: new FileStorage('state') });
 */
export class FileStorage implements Storage {
  readonly #folder: string;

  /** The folder is created if it is missing. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Opens a journal. Rejects with `store-in-use` if another process has it. */
  async open(namespace: string): Promise<Store> {
    await mkdir(this.#folder, { recursive: true });
    const file = path.join(this.#folder, `${encodeURIComponent(namespace)}.jsonl`);
    await lock(`${file}.lock`);
    try {
      return await FileStore.open(file);
    } catch (error) {
      await unlock(`${file}.lock`);
      throw error;
    }
  }
}

class FileStore implements Store {
  readonly isPersistent = true;
  readonly isShared = false;
  readonly wasCleared: boolean;
  readonly outbox: Outbox;
  readonly #file: string;
  readonly #memory: MemoryStore;
  #journal: FileHandle;
  /** The length of the journal in bytes, and in lines. */
  #length: number;
  #lines: number;
  /** Ends when all changes so far are written: they are written one by one. */
  #written: Promise<unknown> = Promise.resolve();

  private constructor(file: string, journal: FileHandle, read: Read) {
    this.#file = file;
    this.#journal = journal;
    this.#memory = read.memory;
    this.#length = read.length;
    this.#lines = read.lines;
    this.wasCleared = read.wasCleared;
    this.outbox = {
      put: (entry) => this.#change({ do: 'put', entry }),
      list: () => this.#memory.outbox.list(),
      delete: (id) => this.#change({ do: 'delete', id }),
    };
  }

  static async open(file: string): Promise<FileStore> {
    const read = await readJournal(file);
    const journal = await open(file, 'a');
    // What follows the last whole line was being written when the process ended.
    await journal.truncate(read.length);
    const store = new FileStore(file, journal, read);
    if (read.length === 0) await store.#write(HEADER);
    return store;
  }

  load(channel: string): Promise<StoredChannel> {
    return this.#memory.load(channel);
  }

  since(channel: string, position: string): Promise<StoredChannel | undefined> {
    return this.#memory.since(channel, position);
  }

  async append(
    channel: string,
    records: readonly StoredRecord[],
    position: string,
  ): Promise<number> {
    await this.#change({ do: 'append', channel, records, position });
    return (await this.#memory.load(channel)).records.length;
  }

  clear(channel?: string): Promise<void> {
    return this.#change({ do: 'clear', channel });
  }

  evict(count: number, channel?: string): Promise<{ channel: string; count: number } | undefined> {
    return this.#next(async () => {
      const evicted = await this.#memory.evict(count, channel);
      if (!evicted) return undefined;
      if (channel !== undefined) await this.#write({ do: 'evict', ...evicted });
      // It is to make room, and only a shorter file does.
      else await this.#rewrite();
      return evicted;
    });
  }

  async close(): Promise<void> {
    await this.#written;
    await this.#journal.close();
    await unlock(`${this.#file}.lock`);
  }

  #change(change: Change): Promise<void> {
    return this.#next(async () => {
      await this.#write(change);
      await apply(this.#memory, change);
      if (this.#lines > SPARE_LINES + 2 * (await this.#needed()).length) await this.#rewrite();
    });
  }

  #next<Result>(step: () => Promise<Result>): Promise<Result> {
    const done = this.#written.then(step);
    this.#written = done.catch(() => {});
    return done;
  }

  async #write(line: object): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    try {
      await this.#journal.appendFile(bytes);
      await this.#journal.datasync();
    } catch (error) {
      await this.#journal.truncate(this.#length);
      throw quotaError(error);
    }
    this.#length += bytes.length;
    this.#lines += 1;
  }

  /** The changes that lead to what there is. */
  async #needed(): Promise<Change[]> {
    const changes: Change[] = [];
    for (const [channel, { records, position }] of this.#memory.channels()) {
      changes.push({ do: 'append', channel, records, position: position ?? '' });
    }
    for (const entry of await this.#memory.outbox.list()) changes.push({ do: 'put', entry });
    return changes;
  }

  /** Writes the journal anew. Where that fails the old one stays, which has as much or more. */
  async #rewrite(): Promise<void> {
    const lines = [HEADER, ...(await this.#needed())].map((line) => `${JSON.stringify(line)}\n`);
    const bytes = Buffer.from(lines.join(''));
    const fresh = await open(`${this.#file}.new`, 'a').catch(() => undefined);
    if (!fresh) return;
    try {
      await fresh.truncate();
      await fresh.appendFile(bytes);
      await fresh.datasync();
      await rename(`${this.#file}.new`, this.#file);
    } catch {
      await fresh.close();
      return;
    }
    await this.#journal.close();
    this.#journal = fresh;
    this.#length = bytes.length;
    this.#lines = lines.length;
  }
}

interface Read {
  memory: MemoryStore;
  /** How much of the file is understood, in bytes. */
  length: number;
  lines: number;
  wasCleared: boolean;
}

async function readJournal(file: string): Promise<Read> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  const read = { memory: new MemoryStore(), length: 0, lines: 0, wasCleared: false };
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, read.length)) {
    const line = bytes.toString('utf8', read.length, end);
    if (read.lines === 0) {
      read.wasCleared = line !== JSON.stringify(HEADER);
      if (read.wasCleared) return read;
    } else if (!(await applyLine(read.memory, line))) {
      break;
    }
    read.length = end + 1;
    read.lines += 1;
  }
  return read;
}

/** Whether a line could be read. */
async function applyLine(memory: MemoryStore, line: string): Promise<boolean> {
  try {
    await apply(memory, JSON.parse(line) as Change);
    return true;
  } catch {
    return false;
  }
}

async function apply(memory: MemoryStore, change: Change): Promise<void> {
  switch (change.do) {
    case 'append':
      await memory.append(change.channel, change.records, change.position);
      break;
    case 'clear':
      await memory.clear(change.channel);
      break;
    case 'evict':
      await memory.evict(change.count, change.channel);
      break;
    case 'put':
      await memory.outbox.put(change.entry);
      break;
    case 'delete':
      await memory.outbox.delete(change.id);
      break;
  }
}

/** A full disk is a quota that is exceeded. */
function quotaError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return Object.assign(new Error('the disk is full', { cause: error }), {
    name: 'QuotaExceededError',
  });
}
