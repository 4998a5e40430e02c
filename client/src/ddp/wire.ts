// The messages of DDP that this client reads. A frame becomes one of them once, here.

import { isObject, type Json, type JsonObject } from '../ejson.js';

/** An error as a server sends it. */
export interface WireError {
  code: string;
  message: string;
  details: Json | undefined;
}

/** A message of the server. */
export type ServerMessage =
  | { msg: 'connected'; session: string }
  | { msg: 'failed' }
  | { msg: 'ping'; id: string | undefined }
  | { msg: 'pong'; id: string | undefined }
  | { msg: 'document'; collection: string; id: string; fields: JsonObject }
  | { msg: 'ready'; subs: string[] }
  | { msg: 'nosub'; id: string; error: WireError | undefined }
  | { msg: 'result'; id: string; result: Json | undefined; error: WireError | undefined }
  | { msg: 'other' };

/** Reads a frame. `other` is what this client does not need, and what is malformed. */
export function readMessage(text: string): ServerMessage {
  const frame = parse(text);
  const other: ServerMessage = { msg: 'other' };
  if (!isObject(frame)) return other;
  const { msg, id } = frame;
  switch (msg) {
    case 'connected':
      return typeof frame['session'] === 'string' ? { msg, session: frame['session'] } : other;
    case 'failed':
      return { msg };
    case 'ping':
    case 'pong':
      return { msg, id: typeof id === 'string' ? id : undefined };
    case 'added':
    case 'changed': {
      const { collection, fields } = frame;
      if (typeof collection !== 'string' || typeof id !== 'string') return other;
      return { msg: 'document', collection, id, fields: isObject(fields) ? fields : {} };
    }
    case 'ready': {
      const subs = Array.isArray(frame['subs']) ? frame['subs'] : [];
      return { msg, subs: subs.filter((sub) => typeof sub === 'string') };
    }
    case 'nosub':
      return typeof id === 'string' ? { msg, id, error: readError(frame['error']) } : other;
    case 'result':
      if (typeof id !== 'string') return other;
      return { msg, id, result: frame['result'], error: readError(frame['error']) };
    default:
      return other;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readError(error: Json | undefined): WireError | undefined {
  if (error === undefined) return undefined;
  if (!isObject(error)) return { code: '500', message: JSON.stringify(error), details: undefined };
  const code = String(error['error'] ?? '500');
  const message = error['message'] ?? error['reason'];
  return { code, message: typeof message === 'string' ? message : code, details: error['details'] };
}
