/** What the module costs an app: bundled and minified by Vite as an app's code is, and compressed as servers send it. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { bundleForBrowsers } from '../../support/browser-bundle.ts';

const maximumBytes = 2500;

test(`sallyport/browser has less than ${maximumBytes} bytes, compressed`, async () => {
  const code = await bundleForBrowsers('src/browser/index.ts');
  expect(code).toContain('sallyport-events:');
  const bytes = gzipSync(code, { level: 9 }).length;
  expect(bytes, `it has ${bytes} bytes, ${code.length} before compression`).toBeLessThan(maximumBytes);
});
