// What must hold of each transport of sockjs-client, wherever it runs.

import { check, within } from './harness.mjs';

/** The transports that Meteor's client allows. */
export const METEORS = ['websocket', 'xdr-polling', 'xhr-polling', 'iframe-xhr-polling', 'jsonp-polling'];

/** An id as Meteor makes them, which asks for redis-oplog's events. */
const VENT_ID = 'kpNzWxsDHYcxAHj5M';

const COUNT = 200;
const LENGTHY = 20_000;

/** Messages that have been hard to carry: empty, long, with what scripts, forms, SSE and JSON treat in their own ways. */
const MESSAGES = Array.from({ length: COUNT }, (_, number) => {
  switch (number % 8) {
    case 0: return `${number} 😀 ż\u200b\ufeff\uffff`;
    case 1: return `${number} \u2028 \u2029 \u0000 \u0007 \u007f`;
    case 2: return number === 2 ? '' : `${number}\r\ndata: x\n\n`;
    case 3: return `${number} </script><!-- \\ " ' & + %41 d=`;
    case 4: return number === 4 ? '字'.repeat(LENGTHY) : `["a${number}"]`;
    default: return String(number);
  }
});

/**
 * Talks over the transport that the client takes from `transports`. `talk(what, ...parameters)` has
 * it talked where the client is.
 */
export async function checkTransport(talk, url, transports, transport) {
  const talked = (what, ...more) => within(`${what} over ${transport}`, talk(what, url, transports, ...more));
  check(`${transport} carries ${COUNT} messages in order`, await talked('echo', MESSAGES), {
    transport,
    count: COUNT,
    differing: [],
    left: { code: 3001, reason: 'Enough', wasClean: true },
  });
  check(`${transport} carries DDP`, await talked('ddp'), { transport, result: 3, events: [1, 2, 3], id: 'p' });
  check(`${transport} carries redis-oplog's events, to the byte`, await talked('vent', VENT_ID), {
    transport,
    events: [1, 'é \u2028 😀'].map(
      (event) => `{"msg":"changed","__vent":"1","id":"${VENT_ID}.thread","e":${JSON.stringify(event)}}`,
    ),
  });
  check(`${transport} is told why`, await talked('farewell'), { code: 3000, reason: 'Go away!', wasClean: true });
}
