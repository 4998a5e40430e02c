// The options of a client, and their defaults.

import type { Backoff } from './ddp/backoff.js';
import type { HeartbeatTimes } from './ddp/heartbeat.js';
import type { WebSocketClass } from './ddp/link.js';
import type { SessionOptions } from './ddp/session.js';
import { UpdraftError } from './errors.js';
import type { Codec } from './message.js';
import type { Storage } from './storage/storage.js';

/** Options of a client. */
export interface ClientOptions {
  /**
   * Addresses of the server, as a list or separated by commas, in the order in which they are
   * tried: `wss://orders.example/websocket`, or the host alone. By default the server of the page.
   * The first one names what is stored.
   */
  targets?: string | readonly string[];
  /** Turns each published value into one that EJSON can write. By default nothing is done. */
  encode?: Codec<unknown>;
  /** Turns each received value back. If it throws, the message is left out, and `error` tells. */
  decode?: Codec<unknown>;
  /** Where messages are kept. By default IndexedDB in browsers, and memory elsewhere. */
  storage?: Storage;
  /** The older name: `false` means memory, `true` the default of `storage`. */
  localStorage?: boolean;
  /** How many messages of each channel are kept: 10,000 by default. */
  keep?: number;
  /** The class of WebSockets, where there is no global one: `ws` on Node 20. */
  WebSocket?: WebSocketClass;
  /** The id of the user, with `token`: what is stored can then be read without a connection. */
  user?: string;
  /** The token by which the user logs in. */
  token?: string;
  /** The waits between attempts to connect: up to 500 ms at first, up to 30 s later. */
  backoff?: Partial<Backoff>;
  /** A ping after 17.5 s of silence, and 15 s for its answer. */
  heartbeat?: Partial<HeartbeatTimes>;
}

const BACKOFF: Backoff = { first: 500, most: 30_000 };
const HEARTBEAT: HeartbeatTimes = { interval: 17_500, timeout: 15_000 };
/** How many messages of a channel are kept. */
export const KEEP = 10_000;

/** What a session needs of the options. */
export function toSessionOptions(options: ClientOptions): SessionOptions {
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (typeof WebSocket !== 'function') {
    throw new UpdraftError(
      'invalid-arguments',
      'there is no WebSocket here: give the option `WebSocket`',
    );
  }
  return {
    targets: toTargets(options.targets),
    WebSocket,
    backoff: { ...BACKOFF, ...options.backoff },
    heartbeat: { ...HEARTBEAT, ...options.heartbeat },
  };
}

function toTargets(given: string | readonly string[] | undefined): string[] {
  const here = typeof location === 'object' ? [location.origin] : [];
  const texts = typeof given === 'string' ? given.split(',') : (given ?? here);
  const targets = texts.map((text) => text.trim()).filter((text) => text !== '');
  if (targets.length === 0) throw new UpdraftError('invalid-arguments', 'there is no target');
  return targets.map(toTarget);
}

/** The address of a WebSocket: `ws` and `/websocket` are added where they are missing. */
function toTarget(text: string): string {
  const isSecure = typeof location === 'object' && location.protocol === 'https:';
  const hasScheme = /^[a-z]+:\/\//i.test(text);
  const url =
    URL.canParse(hasScheme ? text : `ws://${text}`) && new URL(hasScheme ? text : `ws://${text}`);
  if (!url || !/^(ws|http)s?:$/.test(url.protocol)) {
    throw new UpdraftError('invalid-arguments', `this is no target: ${text}`);
  }
  const scheme = hasScheme ? url.protocol.replace('http', 'ws') : isSecure ? 'wss:' : 'ws:';
  const path = url.pathname === '/' ? '/websocket' : url.pathname;
  return `${scheme}//${url.host}${path}${url.search}`;
}
