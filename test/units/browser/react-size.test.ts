/** What the hooks cost an app, compressed, and that the documentation says the same. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';
import { expect, test } from 'vitest';
import { readPage, root } from '../../support/markdown.ts';

/** The bytes of a module that imports these names, without React. */
async function compressedSize(imports: string): Promise<number> {
  const entry = '\0entry';
  const built = (await build({
    configFile: false,
    logLevel: 'error',
    root,
    resolve: {
      alias: {
        'sallyport/browser': join(root, 'src/browser/index.ts'),
        'sallyport/react': join(root, 'src/browser/react.tsx'),
      },
    },
    plugins: [
      {
        name: 'entry',
        resolveId: (id) => (id === 'entry' ? entry : null),
        load: (id) => (id === entry ? imports : null),
      },
    ],
    build: {
      write: false,
      rolldownOptions: { input: 'entry', external: /^react/, preserveEntrySignatures: 'strict' },
    },
  })) as Rolldown.RolldownOutput;
  const [{ code }] = built.output;
  return gzipSync(code, { level: 9 }).length;
}

const page = readPage('docs/frameworks.md');
const module = await compressedSize("export * from 'sallyport/browser';");

test.each([
  ['all hooks', 'The hooks add', "export * from 'sallyport/react';"],
  ['one hook', '`useSession()` alone adds', "export { useSession } from 'sallyport/react';"],
])('the size of %s is what docs/frameworks.md says', async (_what, words, imports) => {
  const documented = /^less than ([\d.]+) kB/.exec(page.split(`${words} `)[1] ?? '')?.[1];
  const added = (await compressedSize(`export * from 'sallyport/browser'; ${imports}`)) - module;
  expect(added).toBeLessThan(Number(documented) * 1000);
  expect(added).toBeGreaterThan(Number(documented) * 700);
});
