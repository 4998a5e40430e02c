// What tabs ask of their leader, and what it tells them. All of it is plain data: it passes through
// a BroadcastChannel, which keeps the order of one sender.
//
// A subscription of a tab has a name that begins with the tab's. When a tab ends a subscription and
// subscribes again, what is on its way to the first one is not for the second.

import type { Gap, Policies, Reset, Start } from '../offset.js';
import type { StoredRecord } from '../storage/storage.js';

/** What a tab asks. */
export type Request =
  /** A tab is there, and wants to know whether there is a connection. */
  | { kind: 'hello'; tab: string }
  /** A subscription of a tab. Asked again, it is answered again. */
  | {
      kind: 'want';
      subscriber: string;
      channel: string;
      start: Start;
      policies: Required<Policies>;
    }
  | { kind: 'drop'; subscriber: string; channel: string }
  /** Something was put into the outbox. */
  | { kind: 'outbox' }
  /** What waits for this channel is not to be published. */
  | { kind: 'discard'; channel: string };

/** What a leader tells. With `to` it is for one tab or one of its subscriptions, else for all. */
export type News =
  /** There is a new leader, which knows nothing of what the tabs want. */
  | { kind: 'leader' }
  | { kind: 'connected'; to?: string; target: string }
  | { kind: 'disconnected'; to?: string }
  /** The subscription gets what all get from now on. It has shown what is up to `shown`. */
  | { kind: 'joined'; to: string; channel: string; shown: string | undefined }
  /** The subscription has got all that there was when it was asked for. */
  | { kind: 'ready'; to: string; channel: string }
  /** The subscription has ended. */
  | { kind: 'ended'; to: string; channel: string; error: Failure }
  /** Records behind `after`. With `to` they are for a subscription that has not joined yet. */
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
  | { kind: 'published'; id: string; channel: string; position: string }
  | { kind: 'refused'; id: string; channel: string; error: Failure }
  | { kind: 'failed'; error: Failure };

/** An error, as data. */
export interface Failure {
  code: string;
  message: string;
  channel?: string | undefined;
}

/** The name of a subscription of a tab. */
export function subscriberOf(tab: string, number: number): string {
  return `${tab} ${number}`;
}

/** Whether a name is that of a tab or of one of its subscriptions. */
export function isOf(name: string, tab: string): boolean {
  return name === tab || name.startsWith(`${tab} `);
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
