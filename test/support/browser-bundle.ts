/** A module for browsers as an app's build leaves it: one minified ES module. */
import { join } from 'node:path';
import { build } from 'vite';
import { root } from './markdown.ts';

/** @param module its path in this repository */
export async function bundleForBrowsers(module: string): Promise<string> {
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
  if (output.length !== 1) throw new Error(`${module} became ${output.length} files`);
  return output[0].code;
}
