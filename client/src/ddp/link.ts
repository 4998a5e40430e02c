// One WebSocket to one target, from the attempt to its end. Its end is told once, also that of a
// socket whose own `close` takes long because the network is gone.

/** A WebSocket: that of browsers, of Node from version 22, and of the package `ws`. */
export interface WebSocketLike {
  /** Sends a text frame. */
  send(data: string): void;
  /** Begins to close. */
  close(code?: number): void;
  /** Adds a listener. */
  addEventListener(
    type: 'open' | 'message' | 'close' | 'error',
    listener: (event: { data?: unknown; code?: number }) => void,
  ): void;
}

/** A class of WebSockets. */
export type WebSocketClass = new (url: string) => WebSocketLike;

/** Who uses a link. */
export interface LinkUser {
  opened(): void;
  received(text: string): void;
  /** `code` is that of the WebSocket's end, if it has told one. */
  ended(code: number | undefined): void;
}

/** A WebSocket, until it ends. */
export class Link {
  readonly #socket: WebSocketLike;
  /** Absent when the link has ended: then nothing is told any more. */
  #user: LinkUser | undefined;

  /** @throws what the class of WebSockets throws, for an address that it does not take. */
  constructor(Socket: WebSocketClass, url: string, user: LinkUser) {
    this.#user = user;
    this.#socket = new Socket(url);
    this.#socket.addEventListener('open', () => this.#user?.opened());
    this.#socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') this.#user?.received(data);
    });
    // An error is always followed by a close. It is listened to because `ws` throws it otherwise.
    this.#socket.addEventListener('error', () => {});
    this.#socket.addEventListener('close', ({ code }) => this.#end(code));
  }

  /** Sends a message. It is lost if the link ends before. */
  send(message: object): void {
    try {
      if (this.#user) this.#socket.send(JSON.stringify(message));
    } catch {
      this.close();
    }
  }

  /** Ends the link at once. */
  close(): void {
    this.#socket.close(1000);
    this.#end();
  }

  #end(code?: number): void {
    const user = this.#user;
    this.#user = undefined;
    user?.ended(code);
  }
}
