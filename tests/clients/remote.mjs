// An adapter for a client of another language. A small program of that language holds the client
// and stands at the other end of a pipe. It is told what to do, and tells what the client tells, in
// the words of DDP, a JSON text a line:
//
//   to it     {"msg":"connect"}, {"msg":"method","id","method","params"},
//             {"msg":"sub","id","name","params"}, {"msg":"unsub","id"}
//   from it   {"msg":"connected"}, also after a cut; {"msg":"result","id","error","result"},
//             {"msg":"ready","id"}, {"msg":"nosub","id","error"}; `added`, `changed`, `removed`
//             with `collection`, `id`, `fields`
//
// It ends when its input does.

import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { createInterface } from 'node:readline';

import { Documents, eventsOf, server } from './harness.mjs';

/** Starts the program, with the address of the server as last argument. */
export function remote(command, parameters, environment = {}) {
  const program = spawn(command, [...parameters, server.href], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  });
  program.on('exit', (code, signal) => {
    throw new Error(`${command} has ended: ${code ?? signal}`);
  });

  const told = new EventEmitter();
  createInterface({ input: program.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    told.emit(message.msg, message);
  });
  const documents = new Documents();
  for (const kind of ['added', 'changed', 'removed']) told.on(kind, documents.take);

  /** Who waits for the answer to a method, a subscription or an end of one. */
  const waiting = new Map();
  for (const kind of ['result', 'ready', 'nosub']) {
    told.on(kind, ({ id, error, result }) => {
      const { resolve, reject } = waiting.get(id);
      if (error) reject(error);
      else resolve(result);
    });
  }

  const tell = (message) => program.stdin.write(`${JSON.stringify(message)}\n`);
  const ask = (message) =>
    new Promise((resolve, reject) => {
      waiting.set(message.id, { resolve, reject });
      tell(message);
    });
  let ids = 0;

  function subscribe(name, ...params) {
    const id = `s${++ids}`;
    const ready = ask({ msg: 'sub', id, name, params });
    // Whoever cares asks for it; until then a refusal is not an accident.
    ready.catch(() => {});
    return { id, name, params, ready };
  }

  return {
    connect() {
      const connected = new Promise((resolve) => told.once('connected', resolve));
      tell({ msg: 'connect' });
      return connected;
    },

    call: (method, ...params) => ask({ msg: 'method', id: `m${++ids}`, method, params }),
    subscribe,
    ready: (handle) => handle.ready,
    stop: ({ id }) => ask({ msg: 'unsub', id }),
    onEvent: (vent, publication, f) => told.on('changed', eventsOf(vent, publication, f)),
    documents: (collection) => documents.in(collection),

    // Subscribing again is the program's affair in all of them.
    again: ({ name, params }) =>
      new Promise((resolve, reject) => {
        told.once('connected', () => subscribe(name, ...params).ready.then(resolve, reject));
      }),
  };
}
