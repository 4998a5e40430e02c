// Events and their handlers. A handler that throws harms neither the other handlers nor the stream.

/** A handler of an event. If it returns a promise, nobody waits for it. */
export type Handler<Parameters extends unknown[]> = (...parameters: Parameters) => unknown;

/** Hands events to handlers. `Events` maps each event's name to the parameters of its handlers. */
export class Emitter<Events extends { [Name in keyof Events]: unknown[] }> {
  readonly #handlers = new Map<keyof Events, Set<Handler<never>>>();
  readonly #failed: (error: unknown, name: keyof Events) => void;

  /** `failed` is told what a handler throws, or what the promise that it returned rejects with. */
  constructor(failed: (error: unknown, name: keyof Events) => void) {
    this.#failed = failed;
  }

  /** Adds a handler. The function that is returned removes it. */
  on<Name extends keyof Events>(name: Name, handler: Handler<Events[Name]>): () => void {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => this.off(name, handler);
  }

  /** Removes a handler. */
  off<Name extends keyof Events>(name: Name, handler: Handler<Events[Name]>): void {
    this.#handlers.get(name)?.delete(handler);
  }

  /** How many handlers an event has. */
  count(name: keyof Events): number {
    return this.#handlers.get(name)?.size ?? 0;
  }

  /** Calls the handlers of an event, in the order in which they were added. */
  emit<Name extends keyof Events>(name: Name, ...parameters: Events[Name]): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])] as Handler<Events[Name]>[]) {
      try {
        const returned = handler(...parameters);
        if (returned instanceof Promise)
          returned.catch((error: unknown) => this.#failed(error, name));
      } catch (error) {
        this.#failed(error, name);
      }
    }
  }
}
