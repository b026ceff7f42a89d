/** The registry where a store holds more, or other things, than Sallyport has put there for a person. */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { nowSeconds } from '../../src/clock.ts';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { createEvents, type BffEvent } from '../../src/events.ts';
import { personAmong, personName, providerSessionName } from '../../src/session/session-names.ts';
import { createSessions, type SessionEntry } from '../../src/session/sessions.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { fakeDate } from '../support/clock.ts';

beforeEach(() => fakeDate());

const input: ConfigInput = {
  origin: 'http://localhost:3000',
  issuer: 'http://localhost:4000',
  client: { id: 'app', secret: 'not much of one' },
  secrets: ['a sealing secret of more than 32 characters'],
};

const traits = { userAgent: 'Firefox on Linux', address: '203.0.113.0/24' };

function startProcess(store: Store = createMemoryStore(), overrides: Partial<ConfigInput> = {}) {
  onTestFinished(() => store.close());
  const events = createEvents();
  const emitted: BffEvent[] = [];
  events.subscribe((event) => void emitted.push(event));
  const sessions = createSessions(resolveConfig({ ...input, ...overrides }), { store, events });

  async function begin(claims: Readonly<Record<string, unknown>> = {}): Promise<SessionEntry> {
    const payload = { sub: 'alice', iat: nowSeconds(), ...claims };
    const idToken = `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.c2lnbmF0dXJl`;
    const tokens = { accessToken: 'a', accessTokenExpiresAt: nowSeconds() + 300, refreshToken: 'r', idToken };
    const entry = await sessions.begin(tokens, undefined);
    await sessions.registry.add(entry, traits);
    return entry;
  }

  return { store, sessions, registry: sessions.registry, begin, emitted };
}

const alice = personName(input.issuer, 'alice');
const bob = personName(input.issuer, 'bob');

/** What a store that counts its operations was asked. */
function counting(store: Store): { readonly store: Store; readonly calls: string[] } {
  const calls: string[] = [];
  const look: Store['look'] = async (...parameters) => {
    calls.push('look');
    return store.look(...parameters);
  };
  const list: Store['list'] = async (...parameters) => {
    calls.push('list');
    return store.list(...parameters);
  };
  return { store: { ...store, look, list }, calls };
}

describe('hundreds of sessions of a person', () => {
  test('are listed up to the newest 100, with two operations of the store', async () => {
    const { store, calls } = counting(createMemoryStore());
    const { registry, begin } = startProcess(store);
    const keys: string[] = [];
    for (let count = 0; count < 150; count++) {
      vi.advanceTimersByTime(1000);
      keys.push((await begin()).key);
    }
    const listed = await registry.list(alice);
    expect(listed.map(({ handle }) => handle)).toEqual(keys.slice(-100).toReversed());
    expect(calls).toEqual(['list', 'look']);
  });

  test('end all, those too that no list shows', async () => {
    const { registry, begin } = startProcess();
    const entries: SessionEntry[] = [];
    for (let count = 0; count < 250; count++) entries.push(await begin());
    const [kept] = entries;
    await registry.endAll(alice, 'other_session', kept?.key);
    expect(entries.filter((entry) => entry.ended === undefined)).toEqual([kept]);
  });

  test('of a load test, in the thousands, end as well, and never come from the store all at once', async () => {
    const memory = createMemoryStore();
    const longest = { listed: 0 };
    const list: Store['list'] = async (...parameters) => {
      const listed = await memory.list(...parameters);
      longest.listed = Math.max(longest.listed, listed.length);
      return listed;
    };
    const { registry, begin } = startProcess({ ...memory, list });
    for (let count = 0; count < 2500; count++) {
      await memory.begin(`session-${count}`, { names: [alice], details: 'sealed' }, 3600);
    }
    const kept = await begin();
    await registry.endAll(alice, 'other_session', kept.key);
    expect((await memory.list(alice, 10_000)).map(({ session }) => session)).toEqual([kept.key]);
    expect(kept.ended).toBeUndefined();
    expect(longest.listed).toBe(1000);
    await registry.list(alice);
    expect(longest.listed).toBe(1000);
  });
});

describe('what somebody who can write the store puts there', () => {
  test.each([
    [
      "another person's record under one's name",
      async (store: Store, key: string, details: string) => {
        await store.begin(key, { names: [alice], details }, 3600);
      },
    ],
    [
      "a record under another session's key",
      async (store: Store, _: string, details: string) => {
        await store.begin('A'.repeat(43), { names: [bob, alice], details }, 3600);
      },
    ],
    [
      'no record at all',
      async (store: Store) => {
        await store.begin('B'.repeat(43), { names: [alice], details: 'junk' }, 3600);
      },
    ],
  ])('is not listed, and cannot be ended by handle: %s', async (_, plant) => {
    const { store, registry, begin } = startProcess();
    const own = await begin();
    const foreign = await begin({ sub: 'bob' });
    const details = (await store.list(bob, 100))[0]?.details ?? '';
    await plant(store, foreign.key, details);
    expect((await registry.list(alice)).map(({ handle }) => handle)).toEqual([own.key]);
    expect(await registry.end(alice, foreign.key, 'other_session')).toBe(false);
    expect(await registry.end(alice, 'A'.repeat(43), 'other_session')).toBe(false);
    expect(foreign.ended).toBeUndefined();
  });
});

test('the store gets nothing that can be read there', async () => {
  const written: string[] = [];
  const memory = createMemoryStore();
  const begin: Store['begin'] = async (...parameters) => {
    written.push(JSON.stringify(parameters));
    return memory.begin(...parameters);
  };
  const process = startProcess({ ...memory, begin });
  const entry = await process.begin({ sid: 'sid-of-alice' });
  const [text = ''] = written;
  expect(personAmong(entry.names)).toBe(alice);
  for (const plain of ['alice', 'Firefox', '203.0.113', entry.session.id]) expect(text).not.toContain(plain);
});

test('a list by a session at the provider has the sessions that it has begun', async () => {
  const { registry, begin } = startProcess();
  const one = await begin({ sid: 's1' });
  await begin({ sid: 's2' });
  const name = providerSessionName(input.issuer, 's1');
  expect((await registry.list(name)).map(({ handle }) => handle)).toEqual([one.key]);
});

test('a process that has seen none of them leaves out those that a session at the provider took along', async () => {
  const { store, begin } = startProcess();
  const elsewhere = startProcess(store);
  await begin({ sid: 's1' });
  const second = await begin({ sid: 's2' });
  await store.revoke(providerSessionName(input.issuer, 's1'), { before: nowSeconds(), reason: 'backchannel' }, 3600);
  vi.advanceTimersByTime(1000);
  const third = await begin({ sid: 's1' });
  const handles = (await elsewhere.registry.list(alice)).map(({ handle }) => handle);
  expect(handles).toEqual([third.key, second.key]);
});

test('a session is over for the list with a lifetime that was shortened since', async () => {
  const { store, begin } = startProcess();
  await begin();
  const shortened = startProcess(store, { session: { lifetimeSeconds: 60 } });
  vi.advanceTimersByTime(59_000);
  expect(await shortened.registry.list(alice)).toHaveLength(1);
  vi.advanceTimersByTime(1000);
  expect(await shortened.registry.list(alice)).toEqual([]);
});

test('a session that has ended here is not listed while the store does not know it yet', async () => {
  const memory = createMemoryStore();
  const store: Store = { ...memory, end: () => Promise.reject(new Error('lost')) };
  const { sessions, registry, begin } = startProcess(store);
  await sessions.end(await begin(), 'logout');
  expect(await memory.list(alice, 100)).toHaveLength(1);
  expect(await registry.list(alice)).toEqual([]);
});

test('a record that was sealed under a secret which is gone is not listed, and ends with all others', async () => {
  const store = createMemoryStore();
  const earlier = startProcess(store);
  const old = await earlier.begin();
  const { registry, begin } = startProcess(store, { secrets: ['another sealing secret of more than 32 characters'] });
  const own = await begin();
  expect((await registry.list(alice)).map(({ handle }) => handle)).toEqual([own.key]);
  await registry.endAll(alice, 'other_session', own.key);
  expect(old.ended).toBe('other_session');
});

test('an end of a session that this process has never seen is told once', async () => {
  const store = createMemoryStore();
  const elsewhere = startProcess(store);
  const entry = await elsewhere.begin();
  const here = startProcess(store);
  await here.sessions.endByKey(entry.key, 'operator');
  await here.sessions.endByKey(entry.key, 'operator');
  const event = { type: 'session.ended', session: entry.sessionHash, reason: 'operator' };
  expect(here.emitted).toEqual([{ ...event, remote: false }]);
  expect(elsewhere.emitted).toEqual([{ ...event, remote: true }]);
});
