/** Compiles code of the documentation against the sources, as the reader's project would against the package. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { root } from './markdown.ts';

/** Compiler options of a project for browsers. */
export const forBrowsers = { lib: ['es2024', 'dom', 'dom.iterable'], jsx: 'react-jsx', types: [] };

const paths = {
  sallyport: ['../../src/index.ts'],
  'sallyport/browser': ['../../src/browser/index.ts'],
  'sallyport/browser/reconnecting': ['../../src/browser/reconnecting.ts'],
  'sallyport/react': ['../../src/browser/react.tsx'],
  'sallyport/vite': ['../../src/vite/plugin.ts'],
};

/**
 * @param write writes the files into a folder, and returns their names
 * @returns what the compiler says, a line each, which begins with the file's name
 */
export function compilerErrors(write: (folder: string) => readonly string[], options: object): string[] {
  // Inside the repository, so that packages and relative imports resolve; a dot keeps other tools out.
  const folder = mkdtempSync(join(root, 'test/.docs-code-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const compilerOptions = { paths, ...options };
  const settings = { extends: '../../tsconfig.json', compilerOptions, include: [], files: write(folder) };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  const { stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder, '--pretty', 'false'], {
    encoding: 'utf8',
    cwd: folder,
  });
  return stdout.split('\n').filter((line) => line.includes('error TS'));
}
