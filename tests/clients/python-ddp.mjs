// python-ddp 0.1.5 on Python 3: see `python_ddp.py`.

import path from 'node:path';

import { remote } from './remote.mjs';
import { drive } from './scenario.mjs';

const PROGRAM = path.join(import.meta.dirname, 'python_ddp.py');
const PYTHONPATH = path.join(process.env.UPDRAFT_CLIENTS, 'python');

await drive({
  ...remote('python3', [PROGRAM], { PYTHONPATH }),
  date: { datetime: '1970-01-01T00:00:05+00:00' },
});
