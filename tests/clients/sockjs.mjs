// sockjs-client 1.6.1 in Node, over each transport alone.
//
// Started as `node sockjs.mjs URL`, where there are `/echo`, `/close` and `/sockjs`; or as `node
// sockjs.mjs URL TRANSPORT`, which is then the one that the client must take from Meteor's list.

import './sockjs_talk.js';

import { load, run, server } from './harness.mjs';
import { checkTransport, METEORS } from './sockjs_checks.mjs';

globalThis.SockJS = load('sockjs-client');

const [, , , expected] = process.argv;
const url = `http://${server.host}`;
const talk = (what, ...parameters) => globalThis.talk[what](...parameters);

run(async () => {
  if (expected) return checkTransport(talk, url, METEORS, expected);
  for (const transport of ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling']) {
    await checkTransport(talk, url, transport, transport);
  }
});
