// A DDP server with durable topics, as small as the tests can have it, that can be cut, stopped and
// made to refuse. It speaks the wire of Updraft's publication `topic` and method `publish`.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

/** What each token's user is. */
const USERS = { 'token-ada': 'ada', 'token-ben': 'ben' };

export class FakeServer {
  /** Answers HTTP, for tests with pages. */
  answer = (_request, response) => response.end();
  /** Errors with which the next subscriptions and calls of `publish` are answered. */
  refusedSubscriptions = [];
  refusedPublications = [];
  /** What else clients may subscribe to by its name, and call with a slash behind it. */
  services = new Map();
  /** Called with each message of a client, before it is handled. What returns true is dropped. */
  drops = () => false;
  /** Called before each message to a client. What returns true cuts the connection instead. */
  cuts = () => false;
  /** How many connections, new sessions, and subscriptions there were. */
  counts = { connections: 0, sessions: 0, subscriptions: 0 };
  /** Who has subscribed and published, with the name of the topic. */
  seen = [];
  #topics = new Map();
  #sessions = new Map();
  #http;
  #sockets = new Set();
  #port = 0;

  /** Starts a server on a free port, or on that of one which was stopped. */
  static async start() {
    const server = new FakeServer();
    await server.start();
    return server;
  }

  async start() {
    this.#http = createServer((request, response) => this.answer(request, response));
    // A larger message ends its connection with 1009.
    const sockets = new WebSocketServer({ server: this.#http, maxPayload: 4 * 2 ** 20 });
    sockets.on('connection', (socket) => this.#connect(socket));
    await new Promise((resolve, reject) => {
      this.#http.once('error', reject);
      this.#http.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = this.#http.address().port;
  }

  /** Refuses connections from now on; topics are kept, sessions are not. */
  async stop() {
    const closed = new Promise((resolve) => this.#http.close(resolve));
    this.#sessions.clear();
    this.cut();
    this.#http.closeAllConnections();
    await closed;
  }

  get url() {
    return `ws://127.0.0.1:${this.#port}/websocket`;
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Ends all connections without a word. */
  cut() {
    for (const socket of this.#sockets) socket.terminate();
  }

  /** Ends all connections, and goes on with none of their sessions. */
  forgetSessions() {
    for (const session of [...this.#sessions.values()]) this.forget(session);
    this.cut();
  }

  /** How many connections there are now. */
  get connections() {
    return this.#sockets.size;
  }

  /** Appends a record, and returns its position. */
  publish(name, payload, more = {}) {
    return this.#append({ topic: name, payload, ...more }).position;
  }

  /** The payloads that a topic has. */
  payloads(name) {
    return this.#topic(name).records.map(({ event }) => event.payload);
  }

  /** Removes all but the last `count` records. */
  trim(name, count) {
    const topic = this.#topic(name);
    topic.records = topic.records.slice(topic.records.length - count);
  }

  /** Deletes a topic: the next one of that name has another epoch. */
  delete(name) {
    this.#topics.delete(name);
  }

  /** Says something about a topic to all who follow it, and sends a record that makes no sense. */
  disturb(name) {
    for (const { session, collection } of this.#followers(name)) {
      session.send({ msg: 'changed', collection, id: 'id', fields: { event: 'nonsense' } });
      session.send({ msg: 'added', collection: 'others', id: 'id', fields: { a: 1 } });
      session.raw('{"msg":');
    }
  }

  /** Ends the subscriptions to a topic with an error. */
  end(name, error) {
    for (const { session, id } of [...this.#followers(name)]) session.end(id, error);
  }

  /** How many subscriptions to a topic there are. */
  followers(name) {
    return [...this.#followers(name)].length;
  }

  *#followers(name) {
    for (const session of this.#sessions.values()) {
      for (const [id, follow] of session.subscriptions)
        if (follow.topic === name) yield { session, id, ...follow };
    }
  }

  #connect(socket) {
    this.#sockets.add(socket);
    this.counts.connections += 1;
    let session;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (session?.socket === socket) session.socket = undefined;
    });
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      if (this.drops(message)) return;
      if (message.msg === 'connect') session = this.#open(socket, message);
      else session?.handle(message);
    });
  }

  #open(socket, { session: id, receivedCount }) {
    let session = this.#sessions.get(id);
    if (session && !session.socket && receivedCount <= session.sent.length) {
      session.resume(socket, receivedCount);
      return session;
    }
    this.#sessions.delete(id);
    this.counts.sessions += 1;
    session = new Session(this, socket);
    this.#sessions.set(session.id, session);
    session.send({ msg: 'connected', session: session.id });
    return session;
  }

  forget(session) {
    this.#sessions.delete(session.id);
    for (const service of this.services.values()) service.left(session);
  }

  /** A call of a method: its result, or an error that is thrown. */
  call(session, method, parameters = []) {
    const [parameter] = parameters;
    const [name, verb] = method.split('/');
    if (this.services.has(name)) return this.services.get(name).call(session, verb, parameters);
    switch (method) {
      case 'publish': {
        const refused = this.refusedPublications.shift();
        if (refused) throw refused;
        this.seen.push(['publish', parameter.topic, session.user]);
        return this.#append(parameter);
      }
      case 'login': {
        const user = USERS[parameter.resume] ?? USERS[`token-${parameter.user}`];
        if (!user) throw { error: 403, reason: 'no', message: 'no [403]' };
        session.user = user;
        return {
          id: user,
          token: `token-${user}`,
          tokenExpires: { $date: Date.now() + 1e9 },
          type: 'resume',
        };
      }
      case 'logout':
        session.user = undefined;
        return undefined;
      default:
        throw { error: 404, reason: 'not found', message: 'not found [404]' };
    }
  }

  #append({ topic: name, payload, id, key, meta, tombstone, compact }) {
    const topic = this.#topic(name);
    const known = id !== undefined && topic.known.get(id);
    if (known) return { ...known, duplicate: true };
    topic.last += 1;
    const time = Date.now();
    const position = positionOf(topic, topic.last);
    const event = {
      ...(tombstone ? {} : { payload }),
      ...(key && { key }),
      ...(compact && { compact }),
      ...(meta && { meta }),
      time,
    };
    topic.records.push({ position, event, compact, time });
    if (id !== undefined) topic.known.set(id, { position, time });
    for (const { session, collection } of this.#followers(name))
      session.record(collection, { position, event });
    return { position, time, duplicate: false };
  }

  #topic(name) {
    if (!this.#topics.has(name)) {
      this.#topics.set(name, {
        epoch: randomBytes(4).toString('hex'),
        records: [],
        last: 0,
        known: new Map(),
      });
    }
    return this.#topics.get(name);
  }

  /** What a subscription begins with: a state, and records. */
  begin({ topic: name, from, onGap = 'fail', onReset = 'fail' }) {
    const topic = this.#topic(name);
    const { records } = topic;
    const end = positionOf(topic, topic.last);
    const first = topic.last - records.length + 1;
    const bounds = { first, last: end };
    const behind = (policy) => {
      if (policy === 'latest') return [];
      if (policy === 'snapshot') return latestOfEach(records);
      return records;
    };
    if (from === 'latest') return { state: { state: 'live', ...bounds }, records: [] };
    if (from === 'earliest' || from === 'snapshot')
      return { state: { state: 'resumed', ...bounds }, records: behind(from) };
    if (from?.last !== undefined) {
      return {
        state: { state: 'resumed', ...bounds },
        records: from.last === 0 ? [] : records.slice(-from.last),
      };
    }
    if (from?.time !== undefined) {
      return {
        state: { state: 'resumed', ...bounds },
        records: records.filter(({ time }) => time >= from.time.$date),
      };
    }
    const [offset, epoch] = String(from).split('.');
    if (!/^\d{12}$/.test(offset) || !epoch) throw { error: 'bad-position', reason: 'malformed' };
    if (epoch !== topic.epoch) {
      if (onReset === 'fail')
        throw { error: 'reset', reason: 'reset', details: { reason: 'unknown-epoch' } };
      return {
        state: { state: 'reset', reason: 'unknown-epoch', ...bounds },
        records: behind(onReset),
      };
    }
    const lost = first - Number(offset) - 1;
    if (lost > 0) {
      if (onGap === 'fail') throw { error: 'gap', reason: 'gap', details: { lost } };
      return { state: { state: 'gap', lost, ...bounds }, records: behind(onGap) };
    }
    return {
      state: { state: 'resumed', ...bounds },
      records: records.filter(({ position }) => position > from),
    };
  }

  /** The position before a record, or that of the last one. */
  before(name, record) {
    const topic = this.#topic(name);
    return record ? positionOf(topic, Number.parseInt(record.position, 10) - 1) : this.last(name);
  }

  /** Tells the followers of a topic that they have all up to its end, though they have got less. */
  progress(name) {
    for (const { session, collection } of this.#followers(name)) {
      session.send({ msg: 'changed', collection, id: '_', fields: { position: this.last(name) } });
    }
  }

  /** Appends a record that nobody is shown. */
  publishUnseen(name) {
    const subscriptions = [...this.#followers(name)].map(({ session, id, ...follow }) => {
      session.subscriptions.delete(id);
      return () => session.subscriptions.set(id, follow);
    });
    this.publish(name, null);
    for (const restore of subscriptions) restore();
  }

  /** The position of the last record of a topic. */
  last(name) {
    const topic = this.#topic(name);
    return positionOf(topic, topic.last);
  }
}

/** A session, over one socket after the other. */
class Session {
  id = randomBytes(9).toString('hex').slice(0, 17);
  /** What was sent, as the client counts it. */
  sent = [];
  subscriptions = new Map();
  user;

  constructor(server, socket) {
    this.server = server;
    this.socket = socket;
  }

  resume(socket, received) {
    this.socket = socket;
    const missed = this.sent.slice(received);
    this.sent.length = received;
    this.send({ msg: 'connected', session: this.id });
    for (const text of missed) this.raw(text);
  }

  send(message) {
    this.raw(JSON.stringify(message));
  }

  raw(text) {
    this.sent.push(text);
    if (this.socket && this.server.cuts(text)) this.socket.terminate();
    else this.socket?.send(text);
  }

  record(collection, { position, event }) {
    this.send({ msg: 'changed', collection, id: 'id', fields: { event, position } });
  }

  handle(message) {
    const { msg, id } = message;
    switch (msg) {
      case 'ping':
        this.socket?.send(JSON.stringify({ msg: 'pong', id }));
        break;
      case 'disconnect':
        this.server.forget(this);
        break;
      case 'sub':
        if (!this.subscriptions.has(id)) this.#subscribe(message);
        break;
      case 'unsub':
        this.subscriptions.get(id)?.service?.left(this);
        this.subscriptions.delete(id);
        this.send({ msg: 'nosub', id });
        break;
      case 'method':
        this.#call(message);
        break;
    }
  }

  #call({ id, method, params }) {
    try {
      this.send({ msg: 'result', id, result: this.server.call(this, method, params) });
    } catch (error) {
      this.send({ msg: 'result', id, error });
    }
    this.send({ msg: 'updated', methods: [id] });
  }

  #subscribe({ id, name, params: [collection, options] }) {
    this.server.counts.subscriptions += 1;
    try {
      const refused = this.server.refusedSubscriptions.shift();
      if (refused) throw refused;
      const service = this.server.services.get(name);
      if (service) {
        this.server.seen.push(['sub', name, this.user]);
        this.subscriptions.set(id, { service, collection });
        this.send({ msg: 'added', collection, id: 'id', fields: {} });
        this.send({ msg: 'ready', subs: [id] });
        service.subscribe(this, id, collection, options);
        return;
      }
      if (name !== 'topic') throw { error: 404, message: 'not found [404]' };
      const { state, records } = this.server.begin(options);
      state.position = this.server.before(options.topic, records[0]);
      this.server.seen.push(['sub', options.topic, this.user]);
      this.subscriptions.set(id, { topic: options.topic, collection });
      this.send({ msg: 'added', collection, id: 'id', fields: {} });
      this.send({ msg: 'added', collection, id: '_', fields: state });
      for (const record of records) this.record(collection, record);
      const live = { state: 'live', position: this.server.last(options.topic) };
      this.send({ msg: 'changed', collection, id: '_', fields: live });
      this.send({ msg: 'ready', subs: [id] });
    } catch (error) {
      if (error instanceof Error) throw error;
      this.end(id, error);
    }
  }

  end(id, error) {
    this.subscriptions.delete(id);
    this.send({ msg: 'nosub', id, error });
  }
}

function positionOf(topic, offset) {
  return `${String(offset).padStart(12, '0')}.${topic.epoch}`;
}

function latestOfEach(records) {
  const latest = new Map(records.map((record) => [record.compact ?? record.position, record]));
  return records.filter((record) => latest.get(record.compact ?? record.position) === record);
}
