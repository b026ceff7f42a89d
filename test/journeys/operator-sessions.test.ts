/** The operator's hand: sessions are listed and ended at the listener for operations, by HTTP and by the command line. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { runSallyportBeside, type FinishedCommand } from '../support/command-line.ts';
import { folderWith } from '../support/configuration-folder.ts';
import { freePort } from '../support/listener.ts';
import { createSharedMemory, type SharedMemory } from '../support/shared-memory.ts';
import { signIn, startWorld, type RunningServer, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

const token = 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u';

interface OperatedWorld extends World {
  readonly memory: SharedMemory;
  readonly other: RunningServer;
  readonly ops: string;
}

async function startOperated(
  session: ConfigInput['session'] = {},
  opsToken: string | undefined = token,
): Promise<OperatedWorld> {
  const memory = createSharedMemory();
  const opsPort = await freePort();
  const world = await startWorld({
    store: memory.store,
    config: (base) => ({ ...base, session, listen: { ...base.listen, opsPort, ...(opsToken && { opsToken }) } }),
  });
  const other = await world.addInstance();
  return Object.assign(world, { memory, other, ops: `http://127.0.0.1:${opsPort}` });
}

async function signedIn(world: OperatedWorld, user: 'alice' | 'bob', at = world.server.port): Promise<BrowserClient> {
  const browser = world.client();
  browser.routeTo(at, world.origin);
  await signIn(browser, user);
  return browser;
}

function call(
  { ops }: OperatedWorld,
  path: string,
  { method = 'GET', authorization = `Bearer ${token}` }: { method?: string; authorization?: string | undefined } = {},
): Promise<Response> {
  return fetch(`${ops}${path}`, { method, headers: authorization === '' ? {} : { authorization } });
}

interface ListedSession {
  readonly handle: string;
}

async function listed(world: OperatedWorld, query: string): Promise<readonly ListedSession[]> {
  const answer = await call(world, `/sessions?${query}`);
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { sessions: readonly ListedSession[] }).sessions;
}

async function statusOf(browser: BrowserClient): Promise<number> {
  return (await browser.fetch('/api/orders')).status;
}

describe("the operator's API", () => {
  test('lists the sessions of a person, with nothing that gives authority', async () => {
    const world = await startOperated();
    const browser = await signedIn(world, 'alice');
    await signedIn(world, 'alice', world.other.port);
    await signedIn(world, 'bob');
    const answer = await call(world, '/sessions?sub=alice');
    const text = await answer.text();
    const { sessions } = JSON.parse(text) as { sessions: readonly Record<string, unknown>[] };
    expect(sessions).toHaveLength(2);
    const keys = ['address', 'createdAt', 'handle', 'lastSeenAt', 'userAgent'];
    expect(Object.keys(sessions[0] ?? {}).toSorted()).toEqual(keys);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(text).not.toContain(browser.cookieHeader()?.split('=')[1]);
    for (const secret of world.provider.secrets.keys()) expect(text).not.toContain(secret);
    expect(await listed(world, 'sub=nobody')).toEqual([]);
    world.assertNoSecrets({ 'the token for operations': token });
  });

  test('ends all sessions of a person, on every instance, and no later one', async () => {
    const world = await startOperated();
    const browsers = [await signedIn(world, 'alice'), await signedIn(world, 'alice', world.other.port)];
    const bob = await signedIn(world, 'bob');
    const answer = await call(world, '/sessions?sub=alice', { method: 'DELETE' });
    expect([answer.status, await answer.text()]).toEqual([204, '']);
    expect(await Promise.all(browsers.map(statusOf))).toEqual([401, 401]);
    expect(await statusOf(bob)).toBe(200);
    expect(await listed(world, 'sub=alice')).toEqual([]);
    const ends = world.logs.filter((line) => line.includes('"msg":"session.ended"'));
    expect(ends.every((line) => line.includes('"reason":"operator"'))).toBe(true);
    expect(ends.filter((line) => line.includes('"remote":false'))).toHaveLength(2);

    vi.advanceTimersByTime(1000);
    const later = await signedIn(world, 'alice');
    expect(await statusOf(later)).toBe(200);
  });

  test('ends sessions of a person too of which the store has no record', async () => {
    const world = await startOperated({ registry: false });
    const browser = await signedIn(world, 'alice', world.other.port);
    expect((await call(world, '/sessions?sub=alice')).status).toBe(404);
    expect((await call(world, '/sessions?sub=alice', { method: 'DELETE' })).status).toBe(204);
    expect(await statusOf(browser)).toBe(401);
  });

  test('lists and ends the sessions that one session at the provider has begun', async () => {
    const world = await startOperated();
    const undo = world.provider.mutateIdToken((claims) => ({ claims: { ...claims, sid: 'sid-1' } }), 'code');
    const first = await signedIn(world, 'alice');
    undo();
    const second = await signedIn(world, 'alice');
    expect(await listed(world, 'sid=sid-1')).toHaveLength(1);
    expect((await call(world, '/sessions?sid=sid-1', { method: 'DELETE' })).status).toBe(204);
    expect([await statusOf(first), await statusOf(second)]).toEqual([401, 200]);
  });

  test('ends one session by its handle', async () => {
    const world = await startOperated();
    const first = await signedIn(world, 'alice');
    const [session] = await listed(world, 'sub=alice');
    const second = await signedIn(world, 'alice');
    const answer = await call(world, `/sessions/${session?.handle}`, { method: 'DELETE' });
    expect(answer.status).toBe(204);
    expect([await statusOf(first), await statusOf(second)]).toEqual([401, 200]);
  });

  test.each([
    ['/sessions', 'GET', 400, 'request_invalid'],
    ['/sessions', 'DELETE', 400, 'request_invalid'],
    ['/sessions?sub=', 'DELETE', 400, 'request_invalid'],
    ['/sessions?sub=alice&sid=s', 'DELETE', 400, 'request_invalid'],
    ['/sessions?sub=alice&sub=bob', 'DELETE', 400, 'request_invalid'],
    ['/sessions?others=true', 'DELETE', 400, 'request_invalid'],
    ['/sessions/', 'DELETE', 404, 'route_not_found'],
    ['/sessions/short', 'DELETE', 404, 'route_not_found'],
    ['/sessions/a/b', 'DELETE', 404, 'route_not_found'],
    ['/sessions?sub=alice', 'POST', 405, 'method_not_allowed'],
    ['/sessions/abc', 'GET', 405, 'method_not_allowed'],
  ])('refuses %s by %s, and ends nothing', async (path, method, status, code) => {
    const world = await startOperated();
    const browser = await signedIn(world, 'alice');
    const answer = await call(world, path, { method });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([status, code]);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(await statusOf(browser)).toBe(200);
  });

  test('is unavailable while the store is down', async () => {
    const world = await startOperated();
    const browser = await signedIn(world, 'alice');
    const [session] = await listed(world, 'sub=alice');
    world.memory.down();
    for (const [method, path] of [
      ['GET', '/sessions?sub=alice'],
      ['DELETE', '/sessions?sub=alice'],
    ] as const) {
      const answer = await call(world, path, { method });
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
    }
    expect(await statusOf(browser)).toBe(200);
    expect((await call(world, `/sessions/${session?.handle}`, { method: 'DELETE' })).status).toBe(503);
  });
});

describe('without its token', () => {
  test.each([
    ['no credentials', ''],
    ['another token', `Bearer ${token.slice(0, -1)}x`],
    ['a part of it', `Bearer ${token.slice(0, -1)}`],
    ['more than it', `Bearer ${token}x`],
    ['an empty one', 'Bearer '],
    ['another scheme', `Basic ${Buffer.from(`operator:${token}`).toString('base64')}`],
    ['two of them', `Bearer ${token}, Bearer ${token}`],
    ['the token without a scheme', token],
  ])('the API takes nothing: %s', async (_, authorization) => {
    const world = await startOperated();
    const browser = await signedIn(world, 'alice');
    for (const [method, path] of [
      ['GET', '/sessions?sub=alice'],
      ['DELETE', '/sessions?sub=alice'],
      ['DELETE', '/sessions/x'],
      ['POST', '/sessions'],
    ] as const) {
      const answer = await call(world, path, { method, authorization });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="sessions"/);
      expect(await answer.text()).not.toContain('handle');
    }
    expect(await statusOf(browser)).toBe(200);
  });

  test('in the configuration, there is no such API', async () => {
    const world = await startOperated({}, '');
    expect((await call(world, '/sessions?sub=alice')).status).toBe(404);
  });

  test('probes answer as before', async () => {
    const world = await startOperated();
    await signedIn(world, 'alice');
    const statuses = ['/livez', '/readyz', '/sessionsx', '/'].map(async (path) => {
      return (await call(world, path, { authorization: '' })).status;
    });
    expect(await Promise.all(statuses)).toEqual([200, 200, 404, 404]);
  });
});

test('the public listener has no such API, not even with the token', async () => {
  const world = await startOperated();
  const browser = await signedIn(world, 'alice');
  const headers = { authorization: `Bearer ${token}`, 'sec-fetch-site': null, 'x-csrf': '1' };
  for (const path of ['/sessions?sub=alice', '/bff/sessions?sub=alice']) {
    const answer = await browser.fetch(path, { method: 'DELETE', headers });
    expect(answer.status).toBeGreaterThanOrEqual(400);
  }
  expect(await statusOf(browser)).toBe(200);
});

/** Runs the command where it finds the configuration of the server. */
async function run(world: OperatedWorld, args: readonly string[]): Promise<FinishedCommand> {
  const cwd = await folderWith({ 'sallyport.config.json': JSON.stringify(world.config) });
  return runSallyportBeside(['sessions', ...args], { cwd });
}

describe('sallyport sessions', () => {
  test('list shows them as a table, and as JSON', async () => {
    const world = await startOperated();
    await signedIn(world, 'alice');
    const [session] = await listed(world, 'sub=alice');
    const { exitCode, output, errors } = await run(world, ['list', '--sub', 'alice']);
    expect([exitCode, errors]).toEqual([0, '']);
    const [head = '', line = '', ...more] = output.trimEnd().split('\n');
    expect(head).toMatch(/^handle {39}signed in {17}last seen {17}browser {2}network$/);
    expect(line).toContain(`${session?.handle}  20`);
    expect(more).toEqual([]);
    const json = await run(world, ['list', '--sub', 'alice', '--json']);
    expect([json.exitCode, JSON.parse(json.output)]).toEqual([0, { sessions: [session] }]);
    expect(await run(world, ['list', '--sid', 'none'])).toMatchObject({ exitCode: 0, output: 'no sessions\n' });
  });

  test('end ends those of a person, or one', async () => {
    const world = await startOperated();
    const first = await signedIn(world, 'alice');
    const [session] = await listed(world, 'sub=alice');
    const second = await signedIn(world, 'alice');
    expect(await run(world, ['end', '--handle', session?.handle ?? ''])).toEqual({
      exitCode: 0,
      output: 'ended\n',
      errors: '',
    });
    expect([await statusOf(first), await statusOf(second)]).toEqual([401, 200]);
    expect(await run(world, ['end', '--sub=alice', '--json'])).toMatchObject({
      exitCode: 0,
      output: '{"ended":true}\n',
    });
    expect(await statusOf(second)).toBe(401);
  });

  test('needs no configuration beside an address and the token', async () => {
    const world = await startOperated();
    await signedIn(world, 'alice');
    const cwd = await folderWith({ token: `${token}\n` });
    for (const env of [{ SALLYPORT_OPS_TOKEN: token }, { SALLYPORT_OPS_TOKEN_FILE: 'token' }]) {
      const args = ['sessions', 'list', '--sub', 'alice', '--url', world.ops, '--json'];
      const { exitCode, output } = await runSallyportBeside(args, { cwd, env });
      expect(exitCode).toBe(0);
      expect((JSON.parse(output) as { sessions: unknown[] }).sessions).toHaveLength(1);
    }
  });

  test.each<readonly [change: object, args: readonly string[], told: string]>([
    [{ opsToken: 'x'.repeat(8) + token }, [], 'does not take this token'],
    [{ opsToken: undefined }, [], 'SALLYPORT_OPS_TOKEN'],
    [{ opsPort: undefined }, [], 'SALLYPORT_OPS_PORT'],
    [{}, ['--url', 'http://127.0.0.1:1'], 'does not answer: '],
    [{}, ['--url', 'PUBLIC'], 'the listener for operations, with a token set?'],
  ])('ends with 1 and says why: %j %j', async (change, args, told) => {
    const world = await startOperated();
    const config = { ...world.config, listen: { ...world.config.listen, ...change } };
    const cwd = await folderWith({ 'sallyport.config.json': JSON.stringify(config) });
    const given = args.map((arg) => arg.replace('PUBLIC', `http://127.0.0.1:${world.server.port}`));
    const { exitCode, output, errors } = await runSallyportBeside(['sessions', 'list', '--sub', 'alice', ...given], {
      cwd,
    });
    expect([exitCode, output]).toEqual([1, '']);
    expect(errors).toMatch(/^fault: /);
    expect(errors).toContain(told);
    expect(errors).not.toContain(token);
  });

  test('ends with 1 while the store is down', async () => {
    const world = await startOperated();
    world.memory.down();
    const { exitCode, errors } = await run(world, ['end', '--sub', 'alice']);
    expect([exitCode, errors]).toEqual([1, 'fault: The session store does not answer. Try again in a moment.\n']);
  });
});
