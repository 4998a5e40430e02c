// Sends what is in the outbox: each channel in its order, one entry at a time, so that an entry
// that has to be sent again is not overtaken. An entry stays in the outbox until its result is
// there. Its id keeps the server from storing it twice.

import type { Session } from '../ddp/session.js';
import { isObject } from '../ejson.js';
import { UpdraftError } from '../errors.js';
import type { Outbox, OutboxEntry } from '../storage/storage.js';
import { failure, type Tell } from './news.js';
import { isPassing, retryDelay } from './refusal.js';

/** Sends an outbox over a session. */
export class Sender {
  readonly #outbox: Outbox;
  readonly #session: Session;
  readonly #tell: Tell;
  #isOpen = false;
  #isSending = false;
  /** Entries that were read and are not to be sent any more. */
  readonly #discarded = new Set<string>();
  /** Whether something was put into the outbox after it was read. */
  #isNew = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(outbox: Outbox, session: Session, tell: Tell) {
    this.#outbox = outbox;
    this.#session = session;
    this.#tell = tell;
  }

  /** May send from now on: there is a session, and its user has logged in. */
  open(): void {
    this.#isOpen = true;
    this.wake();
  }

  /** May not send for now. */
  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#retry);
  }

  /** Something was put into the outbox. */
  wake(): void {
    this.#isNew = true;
    if (this.#isOpen && !this.#isSending) void this.#send();
  }

  /** Forgets what waits for a channel. */
  async discard(channel: string): Promise<void> {
    const entries = (await this.#outbox.list()).filter((entry) => entry.channel === channel);
    for (const { id } of entries) this.#discarded.add(id);
    for (const { id } of entries) {
      await this.#outbox.delete(id);
      const error = { code: 'discarded', message: 'it was discarded before it was sent', channel };
      this.#tell({ kind: 'refused', id, channel, error });
    }
    // A pass that has read them ends before they are forgotten.
    if (!this.#isSending) this.#discarded.clear();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    try {
      while (this.#isOpen && this.#isNew) {
        this.#isNew = false;
        const entries = await this.#outbox.list();
        await Promise.all(byChannel(entries).map((channel) => this.#sendAll(channel)));
      }
    } catch (error) {
      this.#tell({ kind: 'failed', error: failure(error, 'storage-failed') });
      this.#tryLater();
    }
    this.#isSending = false;
    this.#discarded.clear();
    // It was opened again while the last results were awaited.
    if (this.#isOpen && this.#isNew) void this.#send();
  }

  /** Sends the entries of a channel, up to one that the server does not take now. */
  async #sendAll(entries: OutboxEntry[]): Promise<void> {
    for (const entry of entries) {
      if (!this.#isOpen) return;
      if (this.#discarded.has(entry.id)) continue;
      if (!(await this.#sendOne(entry))) return;
    }
  }

  /** Whether the server has answered for good. */
  async #sendOne({ id, channel, record }: OutboxEntry): Promise<boolean> {
    try {
      const result = await this.#session.call('publish', [{ topic: channel, ...record, id }]);
      const position = isObject(result) ? result['position'] : undefined;
      if (typeof position !== 'string')
        throw new UpdraftError('bad-answer', 'the server has told no position');
      await this.#outbox.delete(id);
      this.#tell({ kind: 'published', id, channel, position });
      return true;
    } catch (error) {
      const refused = failure(error, 'storage-failed', channel);
      // The next session sends it again.
      if (refused.code === 'connection-lost') return false;
      if (isPassing(refused.code) || refused.code === 'storage-failed') {
        this.#tryLater();
        return false;
      }
      await this.#outbox.delete(id);
      this.#tell({ kind: 'refused', id, channel, error: refused });
      return true;
    }
  }

  #tryLater(): void {
    clearTimeout(this.#retry);
    if (this.#isOpen) this.#retry = setTimeout(() => this.wake(), retryDelay());
  }
}

function byChannel(entries: OutboxEntry[]): OutboxEntry[][] {
  const channels = new Map<string, OutboxEntry[]>();
  for (const entry of entries) {
    const channel = channels.get(entry.channel) ?? [];
    channels.set(entry.channel, channel);
    channel.push(entry);
  }
  return [...channels.values()];
}
