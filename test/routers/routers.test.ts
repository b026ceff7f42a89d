/**
 * The attacker's story (test/attacks/route-confusion.test.ts) with the routers that people really use. Each has handlers
 * for `/admin`; through Sallyport the admin pages have a route of their own that takes GET only, below one that takes
 * everything. Some of these routers read `/admin` where others read anything else.
 *
 * Must hold: no DELETE reaches a handler of the admin pages, however it is spelled, and the rest works as ever.
 */
import { sample } from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { generatedPath, spellings } from '../support/hostile-paths.ts';
import { sendRaw } from '../support/raw-call.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { signIn, startWorld, type World } from '../support/world.ts';
import { names, startRouters, type Router, type Routers } from './routers.ts';

let routers: Routers;
let world: World;
let alice: BrowserClient;

beforeAll(async () => {
  routers = await startRouters();
  world = await startWorld(
    {
      config: {
        api: routers.all.flatMap(({ port }, index) => [
          { path: `/api${index}`, target: `http://127.0.0.1:${port}` },
          { path: `/api${index}/admin`, target: `http://127.0.0.1:${port}/admin`, methods: ['GET'] },
        ]),
      },
    },
    { scope: 'manual' },
  );
  alice = world.client();
  await signIn(alice);
});

afterAll(async () => {
  await world.stop();
  await routers.close();
});

test('FastAPI’s redirect to the address with a slash can be followed by a script, with its body', async () => {
  const path = `/api${names.indexOf('FastAPI')}/slashes/items`;
  for (const [method, body] of [
    ['GET', ''],
    ['POST', 'one more'],
  ] as const) {
    const redirect = await sendRaw(world, alice, { method, target: path, lines: [`Content-Length: 0`] });
    expect(redirect).toMatch(/^HTTP\/1\.1 307 /);
    expect(/^location: (.*)\r$/im.exec(redirect)?.[1]).toBe(`${path}/`);
    const answer = await alice.fetch(path, { method, ...(body === '' ? {} : { body }) });
    expect([answer.status, answer.headers['x-handler'], answer.text]).toEqual([
      200,
      'items',
      `${method} /slashes/items/ ${body}`,
    ]);
  }
});

interface Outcome {
  status: number | undefined;
  /** Whose handler answered. */
  handler: string | undefined;
}

function toOutcome(answer: string): Outcome {
  return {
    status: rawStatuses(Buffer.from(answer, 'latin1')).at(-1),
    handler: /^x-handler: (\w+)\r$/im.exec(answer)?.[1],
  };
}

/** Asks the router itself, as somebody inside would. */
async function directly(router: Router, method: string, path: string): Promise<Outcome> {
  const head = `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${router.port}\r\nConnection: close\r\n\r\n`;
  return toOutcome((await rawRequest(router.port, Buffer.from(head, 'latin1'))).toString('latin1'));
}

async function through(router: Router, method: string, path: string): Promise<Outcome> {
  const target = `/api${routers.all.indexOf(router)}${path}`;
  return toOutcome(await sendRaw(world, alice, { method, target }));
}

/** The same in every run: those that somebody once thought of, and more that were made. */
const corpus = [
  ...new Set([
    ...spellings.flatMap(([, paths]) => paths),
    ...spellings.flatMap(([, paths]) => paths.map((path) => `${path}/users`)),
    ...sample(generatedPath, { numRuns: 1500, seed: 7 }),
  ]),
];

describe.each(names)('%s', (name) => {
  let router: Router;

  beforeAll(() => {
    const found = routers.all.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no router ${name}`);
    router = found;
  });

  test('answers as it is asked, the admin pages by GET', async () => {
    const admin = { status: 200, handler: 'admin' };
    const other = { status: 200, handler: 'other' };
    expect(await directly(router, 'DELETE', '/admin')).toEqual(admin);
    expect(await directly(router, 'DELETE', '/orders')).toEqual(other);
    for (const path of ['/admin', '/admin/users', '/%61dmin', '/adm%69n/users', '/admin?x=1']) {
      expect([path, await through(router, 'GET', path)]).toEqual([path, admin]);
    }
    for (const path of ['/orders', '/', '/administrators', '/x/admin', '/%6frders/%C3%A4', '/orders?path=//admin']) {
      expect([path, await through(router, 'GET', path)]).toEqual([path, other]);
      expect([path, await through(router, 'DELETE', path)]).toEqual([path, other]);
    }
    expect(await through(router, 'DELETE', '/admin')).toEqual({ status: 405, handler: undefined });
  });

  test(`lets no DELETE at its admin pages, in ${corpus.length} spellings`, async () => {
    const reached: string[] = [];
    const understood: string[] = [];
    const odd: string[] = [];
    for (const path of corpus) {
      const [own, ours] = await Promise.all([directly(router, 'DELETE', path), through(router, 'DELETE', path)]);
      if (own.handler === 'admin') understood.push(path);
      if (ours.handler === 'admin') reached.push(path);
      if (![200, 301, 302, 307, 308, 400, 404, 405].includes(ours.status ?? 0)) odd.push(`${ours.status} ${path}`);
    }
    expect(reached).toEqual([]);
    expect(odd).toEqual([]);
    // The spellings are worth something: the router takes some of them for its admin pages, each of which is refused.
    expect(understood.length).toBeGreaterThan(8);
    for (const path of understood) expect([400, 405]).toContain((await through(router, 'DELETE', path)).status);
  });
});
