/**
 * The curious colleague's story: "The app shows me where I am signed in, and ends a session by an address with its handle.
 * I have seen a colleague's handle on a screenshot; let's see whether I can end her session with it. If not, the answer, or
 * the time that it takes, may at least tell me that she is signed in. And perhaps the handle is as good as a cookie."
 *
 * And the other page's: "The person has my page open in another tab. A form or a fetch of mine ends all their sessions."
 *
 * Must hold: a handle of somebody else is answered as one that never was, after the same operations; it opens nothing;
 * and no other origin lists or ends anything.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { sendRaw } from '../support/raw-call.ts';
import { createSharedMemory, type SharedMemory } from '../support/shared-memory.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

interface Scene extends World {
  readonly memory: SharedMemory;
  readonly alice: BrowserClient;
  readonly bob: BrowserClient;
  /** Bob's. */
  readonly handle: string;
}

async function startScene(): Promise<Scene> {
  const memory = createSharedMemory();
  const world = await startWorld({ store: memory.store });
  const [alice, bob] = [world.client(), world.client()];
  await signIn(alice, 'alice');
  await signIn(bob, 'bob');
  const answer = await bob.fetch('/bff/sessions');
  const [session] = answer.json()['sessions'] as ReadonlyArray<{ readonly handle: string }>;
  return Object.assign(world, { memory, alice, bob, handle: session?.handle ?? '' });
}

function end(browser: BrowserClient, path: string): Promise<Exchange> {
  return browser.fetch(`/bff/sessions${path}`, { method: 'DELETE' });
}

/** All that an answer tells, but for the request's id and the time. */
function told(answer: Exchange): unknown {
  const { date: _date, 'content-length': _length, ...headers } = answer.headers;
  const { instance: _instance, ...problem } = answer.json();
  return { status: answer.status, headers, problem };
}

async function operationsDuring(memory: SharedMemory, call: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = { ...memory.calls };
  await call();
  const counts = Object.entries(memory.calls).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

describe("somebody else's handle", () => {
  test('is answered as one that never was, after the same operations of the store', async () => {
    const { alice, bob, handle, memory } = await startScene();
    const none = handle.startsWith('A') ? `B${handle.slice(1)}` : `A${handle.slice(1)}`;
    const foreign = await end(alice, `/${handle}`);
    expect([foreign.status, foreign.json()['code']]).toEqual([404, 'route_not_found']);
    expect(told(foreign)).toEqual(told(await end(alice, `/${none}`)));
    const operations = await operationsDuring(memory, () => end(alice, `/${handle}`));
    expect(operations).toEqual({ list: 1, look: 1 });
    expect(await operationsDuring(memory, () => end(alice, `/${none}`))).toEqual(operations);
    expect((await bob.fetch('/api/orders')).status).toBe(200);
  });

  test.each([
    ['in another spelling', (handle: string) => handle.toLowerCase()],
    ['encoded', (handle: string) => handle.replace(/./g, (letter) => `%${letter.charCodeAt(0).toString(16)}`)],
    ['behind another segment', (handle: string) => `x/${handle}`],
    ['with a slash at its end', (handle: string) => `${handle}/`],
    ['beside others=true', (handle: string) => `${handle}?others=true`],
    ['as a list', (handle: string) => `${handle},${handle}`],
    ['twice', (handle: string) => `${handle}${handle}`],
    ['as a pattern', () => '*'],
    ['as a member of every object', () => '__proto__'],
    ['as an escape that decodes to nothing', () => '%E0%A4%A'],
  ])('ends nothing %s', async (_, spell) => {
    const { alice, bob, handle } = await startScene();
    expect((await end(alice, `/${spell(handle)}`)).status).toBe(404);
    expect((await bob.fetch('/api/orders')).status).toBe(200);
    expect((await alice.fetch('/api/orders')).status).toBe(200);
  });

  test('ends nothing when all others end', async () => {
    const { alice, bob } = await startScene();
    expect((await end(alice, '?others=true')).status).toBe(204);
    expect((await bob.fetch('/api/orders')).status).toBe(200);
  });

  test('is neither a cookie nor the sid of the sign-out link', async () => {
    const world = await startScene();
    const { alice, bob, handle } = world;
    const link = await alice.navigate(`/bff/logout?sid=${handle}`, { initiator: world.origin });
    expect(link.status).toBe(400);
    const stranger = world.client();
    const cookie = { cookie: `${stranger.own('session')}=${handle}` };
    expect((await stranger.fetch('/api/orders', { headers: cookie })).status).toBe(401);
    expect((await bob.fetch('/api/orders')).status).toBe(200);
  });

  test('needs a session all the same', async () => {
    const world = await startScene();
    const answer = await end(world.client(), `/${world.handle}`);
    expect([answer.status, answer.json()['code']]).toEqual([401, 'login_required']);
    expect((await world.bob.fetch('/api/orders')).status).toBe(200);
  });
});

test('a session that has ended ends no others, and sees none', async () => {
  const { alice, client } = await startScene();
  const second = client();
  await signIn(second, 'alice');
  const copy = alice.clone();
  await alice.fetch('/bff/logout', { method: 'POST' });
  for (const answer of [await copy.fetch('/bff/sessions'), await end(copy, '?others=true')]) {
    expect([answer.status, answer.json()['code']]).toEqual([401, 'session_expired']);
  }
  expect((await second.fetch('/api/orders')).status).toBe(200);
});

describe('another origin', () => {
  test.each(['https://evil.example', 'http://sibling.localhost'])('lists and ends nothing: %s', async (origin) => {
    const { alice, handle } = await startScene();
    const calls = [
      ['GET', '/bff/sessions'],
      ['DELETE', '/bff/sessions?others=true'],
      ['DELETE', `/bff/sessions/${handle}`],
    ] as const;
    for (const [method, path] of calls) {
      const headers = { 'sec-fetch-site': 'cross-site', origin };
      const answer = await alice.fetch(path, { method, headers });
      expect([answer.status, answer.json()['code']]).toEqual([403, 'request_forbidden']);
    }
  });

  test('does not get there by an address that it has typed or loaded ahead', async () => {
    const { alice } = await startScene();
    const answer = await alice.fetch('/bff/sessions', { headers: { 'sec-fetch-site': 'none' } });
    expect(answer.status).toBe(403);
  });

  test('is refused before the session is opened', async () => {
    const { alice, memory } = await startScene();
    vi.advanceTimersByTime(10_000);
    const headers = { 'sec-fetch-site': 'cross-site' };
    const operations = await operationsDuring(memory, () =>
      alice.fetch('/bff/sessions?others=true', { method: 'DELETE', headers }),
    );
    expect(operations).toEqual({});
  });
});

test('a handle with characters of a log or a header goes nowhere', async () => {
  const world = await startScene();
  const answer = await sendRaw(world, world.alice, { method: 'DELETE', target: '/bff/sessions/%0d%0aSet-Cookie:x' });
  expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  expect(answer).not.toMatch(/^set-cookie/im);
});
