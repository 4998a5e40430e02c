// siderite 0.1.2, a crate: see `siderite/src/main.rs`.

import path from 'node:path';

import { remote } from './remote.mjs';
import { drive } from './scenario.mjs';

const PROGRAM = path.join(process.env.UPDRAFT_CLIENTS, 'siderite/debug/siderite-client');

await drive({ ...remote(PROGRAM, []), date: { $date: 5000 } });
