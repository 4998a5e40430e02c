// What is said over SockJS, in Node and in pages alike: a classic script that leaves `talk`, and
// finds `SockJS`.
//
// A browser on a busy machine may need longer than the client grants a transport by itself, hence
// `timeout`.

globalThis.talk = (() => {
  const TIMEOUT = 15_000;
  const VENT = '{"msg":"changed","__vent":"1"';

  /** A client and what has come over it. */
  class Socket {
    received = [];
    #look = () => {};

    constructor(url, transports) {
      this.client = new SockJS(url, null, { transports, timeout: TIMEOUT });
      this.client.onmessage = ({ data }) => {
        this.received.push(data);
        this.#look();
      };
      this.closed = new Promise((resolve) => {
        this.client.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
      });
      this.opened = new Promise((resolve, reject) => {
        this.client.onopen = () => resolve(this.client.transport);
        this.closed.then(({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`)));
      });
      this.opened.catch(() => {});
    }

    /** So many messages altogether, which come before the end. */
    has(count) {
      const come = new Promise((resolve) => {
        this.#look = () => this.received.length >= count && resolve();
        this.#look();
      });
      return Promise.race([come, this.#end(`${this.received.length} of ${count} messages`)]);
    }

    async #end(after) {
      const { code, reason } = await this.closed;
      throw new Error(`closed after ${after}: ${code} ${reason}`);
    }

    leave(code, reason) {
      this.client.close(code, reason);
      return this.closed;
    }
  }

  /** A DDP client that counts messages, as one that resumes has to. */
  class Ddp {
    events = [];
    count = 0;
    #look = () => {};

    /** Connects, and asks for the session it has had. */
    async connect(url, transports) {
      this.socket = new Socket(`${url}/sockjs`, transports);
      this.socket.client.onmessage = ({ data }) => this.#take(data);
      const transport = await this.socket.opened;
      const past = this.session && { session: this.session, receivedCount: this.count };
      this.say({ msg: 'connect', version: '1', support: ['1', 'pre2', 'pre1'], ...past });
      const { session } = await this.answer(({ msg }) => msg === 'connected');
      const isBack = session === this.session;
      this.session = session;
      return { transport, isBack };
    }

    say(message) {
      this.socket.client.send(JSON.stringify(message));
    }

    /** The first message like this. */
    answer(isIt) {
      return new Promise((resolve) => {
        this.#look = (message) => isIt(message) && resolve(message);
      });
    }

    async call(method, ...params) {
      const id = `${method}${this.count}`;
      this.say({ msg: 'method', method, params, id });
      return (await this.answer((message) => message.msg === 'result' && message.id === id)).result;
    }

    /** So many events altogether. */
    async has(count) {
      while (this.events.length < count) await this.answer(({ msg }) => msg === 'changed');
    }

    #take(text) {
      const message = JSON.parse(text);
      if (message.msg === 'ping') return this.say({ msg: 'pong', id: message.id });
      if (message.msg !== 'pong') this.count += 1;
      // redis-oplog's client looks at the text, before anything is parsed.
      if (text.startsWith(VENT)) this.events.push(text);
      else if (message.msg === 'changed') this.events.push(message.fields.event);
      this.#look(message);
    }
  }

  /** Has the server say all of it again, a quarter at a time, and leaves with a code of its own. */
  async function echo(url, transports, messages) {
    const socket = new Socket(`${url}/echo`, transports);
    const transport = await socket.opened;
    const burst = Math.ceil(messages.length / 4);
    for (let begin = 0; begin < messages.length; begin += burst) {
      messages.slice(begin, begin + burst).forEach((message) => socket.client.send(message));
      await socket.has(Math.min(begin + burst, messages.length));
    }
    const { received } = socket;
    const differing = messages.filter((message, index) => message !== received[index]);
    const left = await socket.leave(3001, 'Enough');
    return { transport, count: received.length, differing, left };
  }

  /** How the server's own farewell is understood. */
  async function farewell(url, transports) {
    const socket = new Socket(`${url}/close`, transports);
    await socket.opened;
    return socket.closed;
  }

  /** Subscribes, is sent events, calls a method, and pings. */
  async function ddp(url, transports) {
    const client = new Ddp();
    const { transport } = await client.connect(url, transports);
    client.say({ msg: 'sub', id: 's', name: 'thread', params: ['vent.thread'] });
    await client.answer(({ msg }) => msg === 'ready');
    const result = await client.call('say', 1, 2, 3);
    await client.has(3);
    client.say({ msg: 'ping', id: 'p' });
    const { id } = await client.answer(({ msg }) => msg === 'pong');
    await client.socket.leave();
    return { transport, result, events: client.events, id };
  }

  /** Subscribes as redis-oplog's client does, with an id like Meteor's, and is sent events. */
  async function vent(url, transports, id) {
    const client = new Ddp();
    const { transport } = await client.connect(url, transports);
    client.say({ msg: 'sub', id: 's', name: 'thread', params: [id] });
    await client.answer(({ msg }) => msg === 'ready');
    await client.call('say', 1, 'é \u2028 😀');
    await client.has(2);
    await client.socket.leave();
    return { transport, events: client.events };
  }

  /** What becomes of a client that is not let in. */
  async function refusal(url, transports) {
    const socket = new Socket(`${url}/echo`, transports);
    return Promise.race([socket.closed, socket.opened.catch(() => socket.closed)]);
  }

  return { Ddp, echo, farewell, ddp, vent, refusal };
})();
