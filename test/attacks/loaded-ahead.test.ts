/**
 * The attacker's story: "Browsers say `Sec-Fetch-Site: none` of what no page has asked for, as of a typed address. I get
 * them to say it of mine: by speculation rules on a sibling subdomain, which load an address ahead, and by a page whose
 * address the person types and which redirects. So I look like the person."
 *
 * Must hold: an API is called by its own app only; a route for documents (`navigations: true`) also opens for a typed
 * address, to be read, but never for what is loaded ahead.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;

beforeAll(async () => {
  world = await startWorld(
    {
      config: (base) => ({
        ...base,
        api: (base.api ?? []).flatMap((route) => [route, { ...route, path: '/documents', navigations: true }]),
      }),
    },
    { scope: 'manual' },
  );
  alice = world.client();
  await signIn(alice);
});

afterAll(() => world?.stop());

beforeEach(() => {
  world.api.requests.length = 0;
});

const typed = { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', origin: null };

/** What browsers say, and have said, of what they load ahead. */
const ahead: ReadonlyArray<Record<string, string>> = [
  { 'sec-purpose': 'prefetch' },
  { 'sec-purpose': 'prefetch;prerender' },
  { 'sec-purpose': 'prefetch;anonymous-client-ip' },
  { 'sec-purpose': 'something new' },
  { 'sec-purpose': '' },
  { purpose: 'prefetch' },
];

async function statusOf(path: string, method: string, headers: Record<string, string | null>): Promise<number> {
  const answer = await alice.fetch(path, { method, headers });
  expect(answer.requestHeaders['cookie']).toMatch(/session-\d+=/);
  return answer.status;
}

test.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'])(
  '%s of an API is refused when it was typed',
  async (method) => {
    expect(await statusOf('/api/transfer', method, typed)).toBe(403);
    expect(world.api.requests).toEqual([]);
  },
);

describe('a route with `navigations: true`', () => {
  test.each(['GET', 'HEAD'])('takes %s when it was typed', async (method) => {
    expect(await statusOf('/documents/1', method, typed)).toBe(200);
    expect(world.api.last().claims?.sub).toBe('alice');
  });

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'])('takes no typed %s', async (method) => {
    expect(await statusOf('/documents/1', method, typed)).toBe(403);
    expect(world.api.requests).toEqual([]);
  });

  test.each(['same-site', 'cross-site', '', 'NONE', 'none, same-origin', 'null'])(
    'takes nothing of Sec-Fetch-Site: "%s"',
    async (site) => {
      expect(await statusOf('/documents/1', 'GET', { ...typed, 'sec-fetch-site': site })).toBe(403);
      expect(world.api.requests).toEqual([]);
    },
  );

  test('takes nothing of a foreign Origin', async () => {
    for (const origin of ['https://evil.test', 'null', '']) {
      expect(await statusOf('/documents/1', 'GET', { ...typed, origin })).toBe(403);
    }
    expect(world.api.requests).toEqual([]);
  });

  test('takes what the app calls with whatever method', async () => {
    for (const method of ['GET', 'POST', 'DELETE']) expect(await statusOf('/documents/1', method, {})).toBe(200);
    expect(world.api.requests).toHaveLength(3);
  });
});

describe.each(ahead)('what is loaded ahead (%o)', (purpose) => {
  test('reaches no API, whatever its route says', async () => {
    for (const path of ['/api/transfer', '/documents/1']) {
      for (const method of ['GET', 'HEAD']) {
        expect(await statusOf(path, method, { ...typed, ...purpose })).toBe(403);
      }
    }
    expect(world.api.requests).toEqual([]);
  });

  test('is not told the session, which a typed address is', async () => {
    expect(await statusOf('/bff/session', 'GET', { ...typed, ...purpose })).toBe(403);
    expect(await statusOf('/bff/session', 'GET', typed)).toBe(200);
  });

  test('passes where the app itself asks for it', async () => {
    expect(await statusOf('/api/next-page', 'GET', purpose)).toBe(200);
    expect(world.api.requests).toHaveLength(1);
  });
});
