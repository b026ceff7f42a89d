// Puts the demo's OpenID provider and its API into the package, compiled, for `sallyport({ demo: true })` of the Vite
// plugin, with the files that the provider's pages link to.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, 'dist/spa-example');
const compiler = fileURLToPath(import.meta.resolve('typescript/package.json')).replace('package.json', 'bin/tsc');

const { status } = spawnSync(process.execPath, [compiler, '-p', join(root, 'scripts/build-demo.tsconfig.json')], {
  stdio: 'inherit',
});
if (status !== 0) process.exit(1);
for (const file of ['src/styles.css', 'public/favicon.svg']) {
  mkdirSync(dirname(join(target, file)), { recursive: true });
  copyFileSync(join(root, 'spa-example', file), join(target, file));
}
