// The records of one key are handled one after the other, those of different keys at the same time.

/** How a record came to its end: acknowledged, or otherwise. */
export type Outcome = 'acked' | 'other';

/** What is done for a record. `isDoubtful`: it may have been taken back while it waited. */
export type Task = (isDoubtful: boolean) => Promise<Outcome>;

interface Lane {
  last: Promise<void>;
  count: number;
  /** Whether one of its records was not acknowledged: those behind it are taken back with it. */
  isDoubtful: boolean;
}

/** All that is under way. */
export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  readonly #free = new Set<Promise<void>>();

  /** Begins a task, or has it wait for those of its key. It must not reject. */
  add(key: string | undefined, task: Task): void {
    if (key === undefined) {
      const done = task(false).then(() => void this.#free.delete(done));
      this.#free.add(done);
      return;
    }
    const lane = this.#lanes.get(key) ?? { last: Promise.resolve(), count: 0, isDoubtful: false };
    this.#lanes.set(key, lane);
    lane.count += 1;
    lane.last = lane.last.then(async () => {
      if ((await task(lane.isDoubtful)) !== 'acked') lane.isDoubtful = true;
      lane.count -= 1;
      if (lane.count === 0) this.#lanes.delete(key);
    });
  }

  /** Resolves when all tasks that were added have ended. */
  async ended(): Promise<void> {
    await Promise.all([...this.#free, ...[...this.#lanes.values()].map(({ last }) => last)]);
  }
}
