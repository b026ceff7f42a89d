/** The package as `npm install` leaves it: packed by npm, unpacked elsewhere, with its dependencies beside it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { root } from './markdown.ts';

export interface InstalledPackage {
  /** `main.js` of the command line. */
  readonly entry: string;
  /** A folder in which the package can be imported, for a test to put files in. */
  readonly folder: string;
  readonly remove: () => void;
}

/** Packs and unpacks it. The dependencies are links to this repository's, so that no registry is asked. */
export function installPackage(): InstalledPackage {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-installed-'));
  const packages = join(folder, 'lib/node_modules');
  const own = join(packages, 'sallyport');
  mkdirSync(own, { recursive: true });
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root, stdio: 'pipe' });
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  execFileSync('tar', ['-xzf', join(folder, `sallyport-${manifest.version}.tgz`), '--strip-components=1', '-C', own]);
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(packages, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(packages, name));
  }
  return {
    entry: join(own, manifest.bin.sallyport),
    folder: join(folder, 'lib'),
    remove: () => rmSync(folder, { recursive: true }),
  };
}

interface Manifest {
  readonly version: string;
  readonly bin: { readonly sallyport: string };
  readonly dependencies: Readonly<Record<string, string>>;
}
