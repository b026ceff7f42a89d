/** A call that is under way for as long as the test wants: the API holds it. */
import type { TestApi } from './api.ts';
import type { BrowserClient, Exchange } from './browser-client.ts';
import { within } from './world.ts';

export interface HeldCall {
  /** The answer, whose text is `finished`. */
  readonly answer: Promise<Exchange>;
  readonly finish: () => void;
}

/** Makes a call, and resolves when it has arrived at the API. Others are answered at once. */
export async function holdCall(api: TestApi, browser: BrowserClient): Promise<HeldCall> {
  const arrived = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  api.answer(async ({ url }) => {
    if (!url.endsWith('/held')) return { body: 'quick' };
    arrived.resolve();
    await go.promise;
    return { body: 'finished' };
  });
  const answer = browser.fetch('/api/held');
  await within(5, arrived.promise, 'the call did not arrive');
  return { answer, finish: go.resolve };
}
