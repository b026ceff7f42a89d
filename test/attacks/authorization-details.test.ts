/**
 * The attacker's story: "Their app may ask the provider for payments in detail (RFC 9396), and any site can begin a login
 * by a link. So I write a link that asks for more than the app may: another type, one that hides behind an allowed one,
 * or a text that the check reads in one way and the provider in another."
 *
 * Must hold: what is not of an allowed type is refused before the provider hears of it, and the provider gets exactly
 * what was checked, written anew.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startWorld, type World } from '../support/world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld(
    {
      provider: { pushedRequests: 'offered' },
      config: { login: { allowAuthorizationDetails: ['payment', '__proto__'] } },
    },
    { scope: 'manual' },
  );
});

afterAll(() => world?.stop());

beforeEach(() => world.provider.resetCalls());

function begin(query: string) {
  return world.client().navigate(`/bff/login?${query}`, { follow: false });
}

function withDetails(text: string): string {
  return new URLSearchParams({ authorization_details: text }).toString();
}

const nested = (depth: number) => `[{"type":"payment","a":${'['.repeat(depth)}${']'.repeat(depth)}}]`;

test.each([
  ['another type', '[{"type":"admin"}]'],
  ['an allowed one and another', '[{"type":"payment"},{"type":"admin"}]'],
  ['another spelling of the type', '[{"type":"Payment"}]'],
  ['a type with a space', '[{"type":"payment "}]'],
  ['a type that is a list', '[{"type":["payment"]}]'],
  ['the type twice, the last one another', '[{"type":"payment","type":"admin"}]'],
  ['the type in the prototype', '[{"__proto__":{"type":"payment"}}]'],
  ['a type that every object inherits', '[{"type":"constructor"}]'],
  ['no type', '[{"actions":["pay"]}]'],
  ['an empty type', '[{"type":""}]'],
  ['nothing', '[]'],
  ['no list', '{"type":"payment"}'],
  ['a list in the list', '[[{"type":"payment"}]]'],
  ['null', 'null'],
  ['null in the list', '[null]'],
  ['a text in the list', '["payment"]'],
  ['no JSON', '[{"type":"payment"}'],
  ['JSON with something behind it', '[{"type":"payment"}]&prompt=none'],
  ['more than 4096 characters', `[{"type":"payment","a":"${'a'.repeat(4096)}"}]`],
])('%s is refused with 400, and the provider hears nothing', async (_story, text) => {
  const page = await begin(withDetails(text));
  expect([page.status, page.headers.location]).toEqual([400, undefined]);
  expect(page.text).toContain('authorization_details');
  expect(page.text).not.toContain('admin');
  expect(world.provider.calls.pushedAuthorization).toBe(0);
});

test('the parameter twice is refused', async () => {
  const twice = `${withDetails('[{"type":"payment"}]')}&${withDetails('[{"type":"payment"}]')}`;
  expect((await begin(twice)).status).toBe(400);
});

test.each([
  ['spaces and escapes', '[ {"type" : "p\\u0061yment", "a" : 1} ]', '[{"type":"payment","a":1}]'],
  ['the type twice, the last one allowed', '[{"type":"admin","type":"payment"}]', '[{"type":"payment"}]'],
  ['a type of an odd name that is allowed', '[{"type":"__proto__"}]', '[{"type":"__proto__"}]'],
  ['a depth of two thousand', nested(2000), nested(2000)],
])('%s: the provider gets what was checked', async (_story, text, sent) => {
  expect((await begin(withDetails(text))).status).toBe(302);
  const push = world.provider.requests.find(({ path }) => path === '/request');
  expect(push?.form['authorization_details']).toBe(sent);
});

test('an app that may ask for none is refused each', async () => {
  await world.restart({ login: {} });
  const page = await begin(withDetails('[{"type":"payment"}]'));
  expect(page.status).toBe(400);
});
