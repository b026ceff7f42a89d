/**
 * The attacker's story: "I sit on the network between the server and its provider. They speak https, and I can't get in.
 * But one address in the provider's metadata begins with http:, left over from before. If it is the one of the keys, I
 * answer there with keys of mine, and whatever I sign from then on is somebody's sign-in. If it is another, I get the
 * client secret, the codes, the refresh tokens or the people themselves."
 *
 * Must hold: of an https provider nothing is fetched, sent or navigated to over plain http, whatever its metadata says.
 */
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { renameIssuer, startHttpsFront } from '../support/https-provider.ts';
import { startListener, type Listener } from '../support/listener.ts';
import type { Undo } from '../support/provider-faults.ts';
import { signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

let canary: Listener;
/** What came to the address without TLS. */
const overheard: string[] = [];

beforeAll(async () => {
  canary = await startListener((request, response) => {
    overheard.push(`${request.method} ${request.url}`);
    response.end('{"keys":[]}');
  });
});

afterEach(() => {
  overheard.length = 0;
});

afterAll(() => canary.close());

const members = [
  'authorization_endpoint',
  'pushed_authorization_request_endpoint',
  'token_endpoint',
  'jwks_uri',
  'userinfo_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'end_session_endpoint',
];

/** A world whose provider is reached over https, and doesn't listen yet. */
async function startHttpsWorld(options: WorldOptions = {}) {
  const front = await startHttpsFront();
  const world = await startWorld({
    ...options,
    providerUp: false,
    config: (base) => ({ ...base, issuer: front.issuer, login: { userInfo: true } }),
  });
  front.serve(world.provider);
  const browser = world.client();
  browser.routeTo(world.provider.port, front.issuer);
  return { world, browser, issuer: front.issuer };
}

type Replacement = readonly [member: string, value: unknown];

/** Puts each in the metadata in turn, never showing the good one in between; `mend` does. */
async function replaceInTurn(
  world: World,
  replacements: readonly Replacement[],
  then: (replacement: Replacement) => Promise<void>,
): Promise<{ mend: () => void }> {
  let mend: Undo | undefined;
  for (const [index, replacement] of replacements.entries()) {
    const [member, value] = replacement;
    const undo = world.provider.mutateDiscovery((metadata) => ({ ...metadata, [member]: value }));
    mend?.();
    mend = undo;
    if (index === 0) await world.provider.up();
    await then(replacement);
  }
  return { mend: () => mend?.() };
}

/** A sign-in that comes to nothing, and why the log says so. */
async function failedSignIn(world: World, browser: BrowserClient) {
  const page = await browser.navigate('/bff/login?login_hint=alice');
  const reasons = world.logs.filter((line) => line.includes('provider.discovery_failed'));
  return {
    outcome: [page.status, page.chain.length, page.setCookies, /provider_unavailable/.exec(page.text)?.[0]],
    reason: reasons.at(-1) ?? '',
  };
}

const refused = [503, 1, [], 'provider_unavailable'];

describe('of a provider with an https issuer', () => {
  test('https throughout is good: people sign in, call, refresh and sign out', async () => {
    fakeDate();
    const { world, browser, issuer } = await startHttpsWorld();
    await world.provider.up();
    const page = await signIn(browser);
    expect(page.chain.map(({ url }) => new URL(url).origin)).toContain(issuer);
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect(world.provider.calls).toMatchObject({ code: 1, refresh: 1, userinfo: 2, revocation: 1 });
  });

  test.each(members)('an http %s makes the metadata useless until it is mended', async (member) => {
    const { world, browser } = await startHttpsWorld();
    const address = `http://127.0.0.1:${canary.port}/${member}`;
    const { mend } = await replaceInTurn(world, [[member, address]], async () => {
      const { outcome, reason } = await failedSignIn(world, browser);
      expect(outcome).toEqual(refused);
      expect(reason).toContain(member);
      expect(members.filter((other) => other !== member && reason.includes(other))).toEqual([]);
    });
    expect(world.server.bff.ready()).toBe(false);
    expect(overheard).toEqual([]);
    mend();
    await signIn(browser);
    expect(overheard).toEqual([]);
  });

  test('every address that is http is named at once', async () => {
    const { world, browser } = await startHttpsWorld();
    world.provider.mutateDiscovery((metadata) => ({
      ...metadata,
      ...Object.fromEntries(members.map((member) => [member, `http://127.0.0.1:${canary.port}/${member}`])),
    }));
    await world.provider.up();
    const { outcome, reason } = await failedSignIn(world, browser);
    expect(outcome).toEqual(refused);
    expect(members.filter((member) => !reason.includes(member))).toEqual([]);
    expect(overheard).toEqual([]);
  });

  test.each([
    ['in capitals', 'HTTP://127.0.0.1:PORT/x'],
    ['with a space before it', ' http://127.0.0.1:PORT/x'],
    ['with a tab in it', 'ht\ttp://127.0.0.1:PORT/x'],
    ['with one slash', 'http:/127.0.0.1:PORT/x'],
    ['without slashes', 'http:127.0.0.1:PORT/x'],
    ['with backslashes', 'http:\\\\127.0.0.1:PORT\\x'],
    ['with the issuer as a user name', 'http://localhost@127.0.0.1:PORT/x'],
    ['without a scheme', '//127.0.0.1:PORT/x'],
    ['without a host', '/x'],
    ['of another protocol', 'ws://127.0.0.1:PORT/x'],
    ['of a file', 'file:///etc/passwd'],
    ['of its own content', 'data:application/json,{"keys":[]}'],
    ['of a script', 'javascript:alert(1)'],
    ['that is empty', ''],
    ['that is a number', 5],
    ['that is an object', { href: 'https://localhost/x' }],
  ])('an address %s is none, for the keys as for the way in and out', async (_story, value) => {
    const { world, browser } = await startHttpsWorld();
    const written = typeof value === 'string' ? value.replace('PORT', String(canary.port)) : value;
    const one = ['jwks_uri', 'authorization_endpoint', 'end_session_endpoint', 'token_endpoint'];
    const replacements = one.map((member) => [member, written] as const);
    await replaceInTurn(world, replacements, async ([member]) => {
      expect([member, (await failedSignIn(world, browser)).outcome]).toEqual([member, refused]);
    });
    expect(overheard).toEqual([]);
  });

  test('a host that is no loopback is refused over http as well, and isn’t asked', async () => {
    const { world, browser } = await startHttpsWorld();
    await replaceInTurn(world, [['jwks_uri', 'http://login.example.test/jwks']], async () => {
      const { outcome, reason } = await failedSignIn(world, browser);
      expect(outcome).toEqual(refused);
      expect(reason).toContain('jwks_uri');
    });
  });

  test('metadata that turns bad later is not taken: the good one stays', async () => {
    // The hour until the metadata is fetched anew; sockets go on by timers of their own.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { world, browser, issuer } = await startHttpsWorld();
    await world.provider.up();
    await signIn(browser);
    const before = world.provider.calls.discovery;
    world.provider.mutateDiscovery((metadata) => ({ ...metadata, jwks_uri: `http://127.0.0.1:${canary.port}/jwks` }));
    vi.advanceTimersByTime(3_601_000);
    await vi.waitFor(() => {
      expect(world.provider.calls.discovery).toBeGreaterThan(before);
      expect(
        world.logs.filter((line) => /discovery_failed.*jwks_uri|jwks_uri.*discovery_failed/.test(line)),
      ).not.toEqual([]);
    });
    vi.useRealTimers();
    const other = world.client();
    other.routeTo(world.provider.port, issuer);
    await signIn(other, 'bob');
    expect(overheard).toEqual([]);
  });
});

describe('where the operator gives the metadata’s own http address, inside a network', () => {
  const issuer = 'https://login.example.test';

  /** The issuer is https and for browsers; the server fetches from the provider's host by http. */
  async function startInside(): Promise<{ world: World; browser: BrowserClient }> {
    const world = await startWorld({
      providerUp: false,
      config: (base) => ({
        ...base,
        issuer,
        discoveryUrl: `${base.issuer}/.well-known/openid-configuration`,
        login: { userInfo: true },
      }),
    });
    const own = world.provider.issuer;
    renameIssuer(world.provider, issuer);
    world.provider.mutateDiscovery((metadata) => ({
      ...metadata,
      token_endpoint: `${own}/token`,
      jwks_uri: `${own}/jwks`,
      userinfo_endpoint: `${own}/me`,
      revocation_endpoint: `${own}/token/revocation`,
    }));
    const browser = world.client();
    browser.routeTo(world.provider.port, issuer);
    return { world, browser };
  }

  test('that very host is asked by http, and browsers go to the issuer', async () => {
    fakeDate();
    const { world, browser } = await startInside();
    await world.provider.up();
    const page = await signIn(browser);
    expect(page.chain.map(({ url }) => new URL(url).origin)).toContain(issuer);
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    await browser.fetch('/bff/logout', { method: 'POST' });
    expect(world.provider.calls).toMatchObject({ code: 1, refresh: 1, userinfo: 2, revocation: 1 });
  });

  test.each(members)('no other host is, for %s', async (member) => {
    const { world, browser } = await startInside();
    const addresses = [
      `http://localhost:${canary.port}/x`,
      `http://127.0.0.1@localhost:${canary.port}/x`,
      'http://login.example.test/x',
      'http://127.0.0.1.evil.test/x',
    ];
    const replacements = addresses.map((address) => [member, address] as const);
    await replaceInTurn(world, replacements, async ([, address]) => {
      const { outcome, reason } = await failedSignIn(world, browser);
      expect([address, outcome]).toEqual([address, refused]);
      expect(reason).toContain(member);
    });
    expect(overheard).toEqual([]);
  });
});

test('a provider on loopback, whose issuer is http, may name other http addresses', async () => {
  const { client, provider } = await startWorld({ providerUp: false });
  const asked: string[] = [];
  const elsewhere = await startListener((request, response) => {
    asked.push(request.url ?? '');
    void fetch(`${provider.issuer}/jwks`).then(async (keys) => response.end(await keys.text()));
  });
  onTestFinished(() => elsewhere.close());
  provider.mutateDiscovery((metadata) => ({ ...metadata, jwks_uri: `http://localhost:${elsewhere.port}/keys` }));
  await provider.up();
  await signIn(client());
  expect(asked).toEqual(['/keys']);
});
