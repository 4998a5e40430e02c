// A proxy between clients and a server, which cuts connections at any byte.

import net from 'node:net';

export class Proxy {
  /** How likely a chunk of data is cut, and its connection ended. */
  cutting = 0;
  #random;
  #target;
  #server;
  #sockets = new Set();
  #port = 0;

  /** `url` is that of the server. */
  constructor(url, random) {
    this.#target = new URL(url);
    this.#random = random;
  }

  async start() {
    this.#server = net.createServer((client) => this.#connect(client));
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = this.#server.address().port;
  }

  /** Ends all connections and refuses new ones. */
  async stop() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  get url() {
    return `ws://127.0.0.1:${this.#port}${this.#target.pathname}`;
  }

  /** Ends all connections without a word. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  #connect(client) {
    const server = net.connect(Number(this.#target.port), this.#target.hostname);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ]) {
      this.#sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on('data', (chunk) => {
        if (this.#random() >= this.cutting) {
          to.write(chunk);
          return;
        }
        to.write(chunk.subarray(0, Math.floor(this.#random() * chunk.length)), () => to.destroy());
        from.destroy();
      });
    }
  }
}
