// What tabs ask of their leader, and what it tells them. All of it is plain data: it passes through
// a BroadcastChannel, which keeps the order of one sender.

import type { Gap, Policies, Reset, Start } from '../offset.js';
import type { StoredRecord } from '../storage/storage.js';

/** What a tab asks. */
export type Request =
  /** A tab is there, and wants to know whether there is a connection. */
  | { kind: 'hello'; tab: string }
  /** A tab wants a channel. Asked again, for a tab that has it already, it is answered again. */
  | { kind: 'want'; tab: string; channel: string; start: Start; policies: Required<Policies> }
  | { kind: 'drop'; tab: string; channel: string }
  /** Something was put into the outbox. */
  | { kind: 'outbox' };

/** What a leader tells. With `to` it is for one tab, else for all. */
export type News =
  /** There is a new leader, which knows nothing of what the tabs want. */
  | { kind: 'leader' }
  | { kind: 'connected'; to?: string; target: string }
  | { kind: 'disconnected'; to?: string }
  /** The tab gets the channel from now on. It has what is up to `shown`; all that is stored behind it is new to it. */
  | { kind: 'joined'; to: string; channel: string; shown: string | undefined }
  /** The tab has been given all that there was when it asked. */
  | { kind: 'ready'; to: string; channel: string }
  /** The subscription of the tab has ended. */
  | { kind: 'ended'; to: string; channel: string; error: Failure }
  /** Records that follow what was up to `after`. With `to` they are for a tab that has not joined yet. */
  | {
      kind: 'records';
      to?: string;
      channel: string;
      records: StoredRecord[];
      after: string | undefined;
      position: string;
    }
  | { kind: 'gap'; to?: string; channel: string; gap: Gap }
  | { kind: 'reset'; to?: string; channel: string; reset: Reset }
  | { kind: 'caughtup'; to?: string; channel: string; position: string }
  | { kind: 'evicted'; channel: string; count: number }
  | { kind: 'published'; id: string; position: string }
  | { kind: 'refused'; id: string; channel: string; error: Failure }
  | { kind: 'failed'; error: Failure };

/** An error, as data. */
export interface Failure {
  code: string;
  message: string;
  channel?: string | undefined;
}

/** What a leader tells its tabs by. */
export type Tell = (news: News) => void;

/** An error as data. */
export function failure(thrown: unknown, code: string, channel?: string): Failure {
  const known = thrown as { code?: unknown; message?: unknown };
  return {
    code: typeof known?.code === 'string' ? known.code : code,
    message: typeof known?.message === 'string' ? known.message : String(thrown),
    channel,
  };
}
