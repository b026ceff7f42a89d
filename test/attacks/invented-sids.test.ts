/**
 * The vandal's story: "Their front-channel logout asks for no proof: whoever knows a `sid` may end that session. I know
 * none, but I can invent them, a thousand a second. If each leaves a mark in their Redis for eight hours, it is full by the
 * evening, and what it forgets first are the sign-outs of real people. And each invented one is told to all instances."
 *
 * Must hold: a `sid` that no session has leaves nothing in the store, in no process, and reaches no other instance; a
 * `sid` as long as the address allows is refused before it is hashed; and no number of frames holds more than a few looks
 * in the store at a time.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { StoreMessage } from '../../src/store/store.ts';
import { watchIdTokens } from '../support/logout-tokens.ts';
import { startRedis } from '../support/redis.ts';
import { createSharedMemory } from '../support/shared-memory.ts';
import { signIn, startWorld } from '../support/world.ts';

const config = { logout: { frontchannel: true } } as const;

function frameOf(port: number, issuer: string, sid: string): Promise<Response> {
  const query = new URLSearchParams({ iss: issuer, sid }).toString();
  return fetch(`http://127.0.0.1:${port}/bff/frontchannel-logout?${query}`);
}

test.each([true, false])('an invented sid leaves nothing in Redis: session.registry %s', async (registry) => {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld({ config: { ...config, session: { registry }, redisUrl: redis.url } });
  await signIn(world.client());
  const before = await redis.dump();
  for (let count = 0; count < 50; count += 1) {
    expect((await frameOf(world.server.port, world.provider.issuer, `invented-${count}`)).status).toBe(200);
  }
  expect([...(await redis.dump()).keys()].toSorted()).toEqual([...before.keys()].toSorted());
});

test('an invented sid is told to nobody, and one that was ended no second time', async () => {
  const { store, calls } = createSharedMemory();
  const world = await startWorld({ backchannelLogout: true, config, store });
  const idTokens = watchIdTokens(world.provider);
  await signIn(world.client());
  const messages: StoreMessage[] = [];
  store.subscribe((message) => void messages.push(message));
  const frame = (sid: string) => frameOf(world.server.port, world.provider.issuer, sid);
  await frame('invented');
  expect(messages).toEqual([]);
  for (let count = 0; count < 3; count += 1) await frame(String(idTokens[0]?.['sid']));
  expect(messages).toMatchObject([{ type: 'ended', reason: 'frontchannel' }]);
  expect([calls['revoke'], calls['end']]).toEqual([undefined, 1]);
});

describe('a frame', () => {
  test.each([
    [1024, 200],
    [1025, 400],
  ])('with a sid of %d characters gets %d', async (length, status) => {
    const world = await startWorld({ config });
    expect((await frameOf(world.server.port, world.provider.issuer, 's'.repeat(length))).status).toBe(status);
  });

  test('that comes while a hundred wait for the store is refused, and one that comes after them is not', async () => {
    const { store } = createSharedMemory();
    const gate = Promise.withResolvers<void>();
    let waiting = 0;
    const slow = {
      ...store,
      async list(name: string, limit: number) {
        waiting += 1;
        await gate.promise;
        return store.list(name, limit);
      },
    };
    const world = await startWorld({ config, store: slow });
    const frame = () => frameOf(world.server.port, world.provider.issuer, 'invented');
    const held = Array.from({ length: 100 }, frame);
    await vi.waitFor(() => expect(waiting).toBe(100), 10_000);
    const refused = await frame();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    gate.resolve();
    expect(new Set((await Promise.all(held)).map(({ status }) => status))).toEqual(new Set([200]));
    expect((await frame()).status).toBe(200);
  });
});
