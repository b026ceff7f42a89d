/** What the module costs an app: bundled and minified by Vite as an app's code is, and compressed as servers send it. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { expect, test } from 'vitest';
import { root } from '../../support/markdown.ts';

const maximumBytes = 2500;

async function bundle(module: string): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    root,
    build: {
      write: false,
      modulePreload: false,
      rolldownOptions: { input: join(root, module), preserveEntrySignatures: 'strict' },
    },
  });
  const { output } = built as Extract<typeof built, { output: unknown }>;
  expect(output).toHaveLength(1);
  return output[0].code;
}

test(`sallyport/browser has less than ${maximumBytes} bytes, compressed`, async () => {
  const code = await bundle('src/browser/index.ts');
  expect(code).toContain('sallyport-events:');
  const bytes = gzipSync(code, { level: 9 }).length;
  expect(bytes, `it has ${bytes} bytes, ${code.length} before compression`).toBeLessThan(maximumBytes);
});
