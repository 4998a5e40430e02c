// Notices a connection over which nothing comes any more. Any message is a sign of life; a ping is
// sent only after an interval without one.

/** The times of heartbeats, in milliseconds. */
export interface HeartbeatTimes {
  /** After how long without a message a ping is sent. */
  interval: number;
  /** How long after a ping the connection is given up. */
  timeout: number;
}

/** The heartbeat of one connection. */
export class Heartbeat {
  readonly #times: HeartbeatTimes;
  readonly #ping: () => void;
  readonly #giveUp: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When something was heard last, by the monotonic clock. */
  #heard = performance.now();

  constructor(times: HeartbeatTimes, ping: () => void, giveUp: () => void) {
    this.#times = times;
    this.#ping = ping;
    this.#giveUp = giveUp;
    this.#wait(times.interval);
  }

  /** Notes a message. */
  heard(): void {
    this.#heard = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** One timer at a time, moved on when it fires: messages cost no timers. */
  #wait(delay: number): void {
    this.#timer = setTimeout(() => this.#look(), delay);
  }

  #look(): void {
    const silent = performance.now() - this.#heard;
    if (silent < this.#times.interval) {
      this.#wait(this.#times.interval - silent);
      return;
    }
    const pinged = performance.now();
    this.#ping();
    this.#timer = setTimeout(() => {
      if (this.#heard < pinged) this.#giveUp();
      else this.#wait(this.#times.interval);
    }, this.#times.timeout);
  }
}
