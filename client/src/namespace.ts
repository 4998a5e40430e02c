// All that belongs to one user of one server: the store, and this tab's part of it.

import type { Credentials } from './account.js';
import type { ClientEvents } from './client-events.js';
import type { SessionOptions } from './ddp/session.js';
import { asUpdraftError, type UpdraftError } from './errors.js';
import type { Emitter } from './events.js';
import { Leader } from './leader/leader.js';
import type { Tell } from './leader/news.js';
import type { Codec } from './message.js';
import { IndexedDbStorage } from './storage/indexeddb.js';
import { MemoryStorage } from './storage/memory.js';
import type { Storage, Store } from './storage/storage.js';
import { canShare, OwnHub, SharedHub } from './tabs/hub.js';
import { Tab } from './tabs/tab.js';

/** What is the same for all users. */
export interface NamespaceOptions {
  session: SessionOptions;
  storage: Storage;
  keep: number;
  decode: Codec<unknown>;
  events: Emitter<ClientEvents>;
}

/** A user of a server. */
export class Namespace {
  readonly credentials: Credentials | undefined;
  readonly store: Store;
  readonly tab: Tab;
  readonly #events: Emitter<ClientEvents>;
  /** Channels whose handlers know that the store was cleared; absent if it was not. */
  readonly #told: Set<string> | undefined;

  private constructor(
    options: NamespaceOptions,
    credentials: Credentials | undefined,
    store: Store,
  ) {
    const { session, keep, decode, events } = options;
    this.credentials = credentials;
    this.store = store;
    this.#events = events;
    this.#told = store.wasCleared ? new Set() : undefined;
    const makeLeader = (tell: Tell) => new Leader({ session, store, keep, credentials }, tell);
    this.tab = new Tab(store, decode, events, (take) =>
      store.isShared && canShare()
        ? new SharedHub(nameOf(session, credentials), makeLeader, take)
        : new OwnHub(makeLeader, take),
    );
  }

  /** Opens the store of a user, or one in memory if that fails. */
  static async open(
    options: NamespaceOptions,
    credentials: Credentials | undefined,
  ): Promise<Namespace> {
    const name = nameOf(options.session, credentials);
    return new Namespace(options, credentials, await openStore(options, name));
  }

  /** Tells of a store that was cleared, once for each channel. */
  tellIfCleared(channel: string): void {
    if (!this.#told || this.#told.has(channel)) return;
    this.#told.add(channel);
    this.#events.emit('reset', channel, { reason: 'schema' });
  }

  /** Ends all that is under way with an error, and closes the store. */
  async close(error: UpdraftError): Promise<void> {
    this.tab.close(error);
    await this.store.close();
  }
}

/** The storage of a platform. */
export function defaultStorage(): Storage {
  return typeof indexedDB === 'object' || typeof window === 'object'
    ? new IndexedDbStorage()
    : new MemoryStorage();
}

function nameOf({ targets }: SessionOptions, credentials: Credentials | undefined): string {
  return `${targets[0] ?? ''} ${credentials?.user ?? ''}`;
}

async function openStore({ storage, events }: NamespaceOptions, name: string): Promise<Store> {
  try {
    return await storage.open(name);
  } catch (error) {
    events.emit('error', asUpdraftError(error, 'storage-unavailable'));
    return new MemoryStorage().open();
  }
}
