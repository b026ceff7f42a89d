/** `sallyport demo`: the example app with an API and a provider of its own, from a clone of the repository. */
import { existsSync } from 'node:fs';

export async function demo(): Promise<void> {
  const module = new URL('../../spa-example/demo.ts', import.meta.url);
  if (!existsSync(module)) {
    throw new Error('The demo is part of the repository, not of the package: clone it and run `npm start`.');
  }
  const { runDemo } = (await import(module.href)) as { runDemo: () => Promise<unknown> };
  await runDemo();
}
