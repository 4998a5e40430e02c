// The lock of a journal: a file with the id of the process that has it.

import { open, readFile, rm } from 'node:fs/promises';

import { UpdraftError } from '../errors.js';

/** Those that this process has. Ids of processes are used again, in containers very soon. */
const held = new Set<string>();

/** Takes a lock, also that of a process which has died. Rejects with `store-in-use`. */
export async function lock(file: string): Promise<void> {
  for (;;) {
    try {
      const handle = await open(file, 'wx');
      held.add(file);
      await handle.writeFile(String(process.pid));
      await handle.close();
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = Number(await readFile(file, 'utf8').catch(() => ''));
    if (held.has(file) || (owner > 0 && owner !== process.pid && isAlive(owner))) {
      throw new UpdraftError('store-in-use', `process ${owner} has the store open: ${file}`);
    }
    await rm(file, { force: true });
  }
}

/** Gives a lock back. */
export async function unlock(file: string): Promise<void> {
  held.delete(file);
  await rm(file, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
