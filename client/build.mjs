// Builds `dist`: modules with their types by tsc, and one file for browsers by esbuild.

import { execFileSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const compiler = path.join(
  path.dirname(createRequire(import.meta.url).resolve('typescript/package.json')),
  'bin/tsc',
);

rmSync(path.join(here, 'dist'), { recursive: true, force: true });
execFileSync(process.execPath, [compiler, '--project', here], { cwd: here, stdio: 'inherit' });
for (const licence of ['LICENSE-APACHE', 'LICENSE-MIT']) {
  copyFileSync(path.join(here, '..', licence), path.join(here, 'dist', licence));
}
await build({
  entryPoints: [path.join(here, 'src/index.ts')],
  outfile: path.join(here, 'dist/updraft-client.js'),
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
});
