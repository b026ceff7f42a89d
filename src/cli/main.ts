#!/usr/bin/env node
/**
 * The entry of the command line. It says which Node is needed before it loads what an older one cannot read, and imports
 * nothing before the compile cache is on, which halves the start-up time.
 */
import { readFileSync } from 'node:fs';
// An older Node refuses an import by the name of something that it does not have.
import * as nodeModule from 'node:module';
import { fileURLToPath } from 'node:url';

const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  engines: { node: string };
};
const [major = 0, minor = 0] = numbersIn(engines.node);
const [ownMajor = 0, ownMinor = 0] = numbersIn(process.versions.node);

if (ownMajor > major || (ownMajor === major && ownMinor >= minor)) {
  // In this package's own tree: a cache in a world-writable folder would run code that others put there.
  nodeModule.enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/sallyport', import.meta.url)));
  const { run } = await import('./commands.ts');
  await run(process.argv.slice(2));
} else {
  console.error(`Sallyport needs Node ${major}.${minor} or newer, and this is ${process.version}: https://nodejs.org`);
  process.exitCode = 1;
}

function numbersIn(version: string): number[] {
  return version.match(/\d+/g)?.map(Number) ?? [];
}
