/** What stands for the npm registry where the tutorial is followed offline: this repository's packages, linked. */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { root } from './markdown.ts';
import type { StandIn } from './tutorial.ts';

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** By the command of the tutorial. */
export function offlineRegistry(template: string): Map<string, StandIn> {
  return new Map<string, StandIn>([
    [
      'npm create --yes vite@latest my-app -- --template react-ts --no-interactive',
      (folder) => cp(template, join(folder, 'my-app'), { recursive: true }),
    ],
    ['npm install', async (folder) => link(folder, await packagesOf(folder))],
    [
      'npm install ./sallyport-0.1.0.tgz',
      async (folder) => {
        const own = join(folder, 'node_modules/sallyport');
        await mkdir(own);
        execFileSync('tar', ['-xzf', join(folder, 'sallyport-0.1.0.tgz'), '--strip-components=1', '-C', own]);
        await link(folder, Object.keys((await manifestIn(own)).dependencies ?? {}));
        await symlink('../sallyport/dist/cli/main.js', join(folder, 'node_modules/.bin/sallyport'));
        execFileSync('chmod', ['+x', join(own, 'dist/cli/main.js')]);
      },
    ],
    ['npm install --save-dev oidc-provider', (folder) => link(folder, ['oidc-provider'])],
  ]);
}

async function manifestIn(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
}

async function packagesOf(folder: string): Promise<string[]> {
  const { dependencies, devDependencies } = await manifestIn(folder);
  return Object.keys({ ...dependencies, ...devDependencies });
}

/** Each package, with the commands that the tutorial's app runs. */
async function link(folder: string, names: readonly string[]): Promise<void> {
  const [packages, ours] = [join(folder, 'node_modules'), join(root, 'node_modules')];
  await mkdir(join(packages, '.bin'), { recursive: true });
  for (const name of names) {
    await mkdir(dirname(join(packages, name)), { recursive: true });
    await symlink(join(ours, name), join(packages, name));
    const command = name === 'typescript' ? 'tsc' : name;
    if (name === 'typescript' || name === 'vite')
      await symlink(join(ours, '.bin', command), join(packages, '.bin', command));
  }
}
