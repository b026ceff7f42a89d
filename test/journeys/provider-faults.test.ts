/**
 * What is told of a provider that cannot be used: the address, the status, both issuers and a remedy, in the log and, on
 * an origin on loopback, where apps are set up, on the page; and a title that is true.
 */
import { describe, expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { Navigation } from '../support/browser-client.ts';
import { startHttpsFront } from '../support/https-provider.ts';
import type { Failure } from '../support/provider-faults.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const wellKnown = '/.well-known/openid-configuration';

/** The causes of the log lines of one event, outermost first, as one text a line. */
function causesIn({ logs }: World, event: string): string[] {
  return logs
    .map((line) => JSON.parse(line) as { msg: string; cause?: Cause })
    .filter(({ msg }) => msg === event)
    .map(({ cause }) => messagesOf(cause).join(' | '));
}

interface Cause {
  readonly message: string;
  readonly cause?: Cause;
}

function messagesOf(cause: Cause | undefined): string[] {
  return cause === undefined ? [] : [cause.message, ...messagesOf(cause.cause)];
}

/** The title and the text of a page, as a person reads them. */
function readingOf({ text }: Navigation): { title: string; detail: string } {
  const [, title = ''] = /<h1>(.*?)<\/h1>/s.exec(text) ?? [];
  const [, detail = ''] = /<span lang="en" dir="ltr">(.*?)<\/span>/s.exec(text) ?? [];
  return { title: withoutEscapes(title), detail: withoutEscapes(detail) };
}

function withoutEscapes(html: string): string {
  return html.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
}

async function startAndLogin(config: (base: ConfigInput) => ConfigInput, arrange: (world: World) => void = () => {}) {
  const world = await startWorld({ providerUp: false, config });
  arrange(world);
  await world.provider.up();
  const page = await world.client().navigate('/bff/login');
  return { world, page, reading: readingOf(page) };
}

const unsuitable = 'The sign-in is not set up correctly';
const unavailable = 'Sign-in is unavailable at the moment';

describe('metadata that', () => {
  const faults: ReadonlyArray<readonly [story: string, title: string, failure: Failure, reason: RegExp]> = [
    ['is not there', unsuitable, { status: 404 }, /ADDRESS answers 404, .*Correct SALLYPORT_ISSUER/],
    ['asks who we are', unsuitable, { status: 401 }, /ADDRESS answers 401/],
    [
      'leads elsewhere',
      unsuitable,
      { status: 301, headers: { location: 'https://elsewhere.test/x' }, body: '' },
      /ADDRESS answers 301 and leads to https:\/\/elsewhere\.test\/x, .*Correct SALLYPORT_ISSUER/,
    ],
    ['is a page', unsuitable, { status: 200, body: '<h1>Hello</h1>' }, /ADDRESS answers 200 with text\/html.* no JSON/],
    ['is a list', unsuitable, { status: 200, body: '[]', contentType: 'application/json' }, /ADDRESS answers 200 with/],
    ['fails', unavailable, { status: 500 }, /ADDRESS answers 500\./],
    ['is being maintained', unavailable, { status: 503 }, /ADDRESS answers 503\./],
    ['has been asked for too often', unavailable, { status: 429 }, /ADDRESS answers 429\./],
  ];

  test.each(faults)('%s', async (_story, title, failure, reason) => {
    const { world, page, reading } = await startAndLogin(
      (base) => base,
      ({ provider }) => void provider.fail('discovery', failure),
    );
    const expected = new RegExp(reason.source.replace('ADDRESS', `${world.provider.issuer}${wellKnown}`));
    expect(page.status).toBe(503);
    expect(page.text).toContain('provider_unavailable');
    expect(reading.title).toBe(title);
    expect(reading.detail).toMatch(expected);
    expect(reading.detail.includes('Try again in a moment')).toBe(title === unavailable);
    expect(causesIn(world, 'provider.discovery_failed')).toContainEqual(expect.stringMatching(expected));
  });

  test.each([
    ['another issuer', 'https://other.test', 'names the issuer "https://other.test"'],
    ['no issuer', undefined, 'names no issuer'],
    ['an issuer that is no text', 5, 'names no issuer'],
    ['the same without its slash', 'ISSUER/', 'names the issuer "ISSUER/"'],
  ])('names %s: both are told', async (_story, issuer, told) => {
    const { world, reading } = await startAndLogin(
      (base) => base,
      ({ provider }) =>
        void provider.mutateDiscovery((json) => ({
          ...json,
          issuer: typeof issuer === 'string' ? issuer.replace('ISSUER', provider.issuer) : issuer,
        })),
    );
    const ours = world.provider.issuer;
    expect(reading.title).toBe(unsuitable);
    for (const text of [reading.detail, causesIn(world, 'provider.discovery_failed').join('\n')]) {
      expect(text).toContain(told.replace('ISSUER', ours));
      expect(text).toContain(`the configured issuer is "${ours}"`);
      expect(text).toContain(`${ours}${wellKnown}`);
    }
  });

  test('names no endpoint that is needed: each is told', async () => {
    const { reading } = await startAndLogin(
      (base) => base,
      ({ provider }) => void provider.mutateDiscovery(({ token_endpoint: _t, jwks_uri: _j, ...json }) => json),
    );
    expect(reading.detail).toContain('names no token_endpoint, no jwks_uri');
  });

  test('comes from an address of its own is told with that, but not with its query', async () => {
    const { world, reading } = await startAndLogin(
      (base) => ({ ...base, discoveryUrl: `${base.issuer}/realms/x?key=hidden` }),
      ({ provider }) => void provider.fail('other', { status: 404 }),
    );
    expect(reading.detail).toContain(`${world.provider.issuer}/realms/x${wellKnown} answers 404`);
    expect(reading.detail).toContain('Correct SALLYPORT_DISCOVERY_URL');
    expect([...world.logs, reading.detail].join('\n')).not.toContain('hidden');
  });

  test('fails is told to strangers on a public origin without the address, which may be an inner one', async () => {
    const world = await startWorld({
      providerUp: false,
      origin: 'https://app.example.test',
      config: (base) => ({ ...base, discoveryUrl: `${base.issuer}/inner` }),
    });
    await world.provider.up();
    const { title, detail } = readingOf(await world.client().navigate('/bff/login'));
    expect([title, detail]).toEqual([
      unsuitable,
      'This app and its identity provider do not fit together; the operator finds the reason in the log.',
    ]);
    expect(causesIn(world, 'provider.discovery_failed').join('\n')).toContain(`${world.provider.issuer}/inner`);
  });
});

describe('a provider that', () => {
  test('does not listen', async () => {
    const world = await startWorld({ providerUp: false });
    const { title, detail } = readingOf(await world.client().navigate('/bff/login'));
    expect(title).toBe(unavailable);
    expect(detail).toContain(`GET ${world.provider.issuer}${wellKnown}: nothing listens there (ECONNREFUSED)`);
  });

  test('has a name that nobody knows', async () => {
    const { reading } = await startAndLogin((base) => ({ ...base, issuer: 'https://login.invalid' }));
    expect(reading.detail).toMatch(/GET https:\/\/login\.invalid\/\.well-known\/.*: the name of the host .*\(E\w+\)/);
  });

  test('hangs', async () => {
    const { reading } = await startAndLogin(
      (base) => ({ ...base, provider: { timeoutSeconds: 0.2 } }),
      ({ provider }) => void provider.hang('discovery'),
    );
    expect(reading.detail).toContain('there was no answer in time (SALLYPORT_PROVIDER_TIMEOUT) (TimeoutError)');
  });

  test('breaks the connection', async () => {
    const { reading } = await startAndLogin(
      (base) => base,
      ({ provider }) => void provider.reset('discovery'),
    );
    expect(reading.detail).toContain('the connection was closed before the answer was complete');
  });

  test('has a certificate of an unknown authority', async () => {
    const front = await startHttpsFront({ trusted: false });
    const { reading } = await startAndLogin((base) => ({ ...base, issuer: front.issuer }));
    expect(reading.detail).toMatch(/of an authority that is not trusted here; .*SALLYPORT_PROVIDER_CA_FILE/);
  });

  test('speaks plain http where https is configured', async () => {
    const world = await startWorld();
    await world.restart((base) => ({ ...base, issuer: world.provider.issuer.replace('http:', 'https:') }));
    const { detail } = readingOf(await world.client().navigate('/bff/login'));
    expect(detail).toContain('it speaks no TLS there; correct the port, or https: in the address');
  });

  test('speaks https where plain http is configured', async () => {
    const front = await startHttpsFront();
    const { reading } = await startAndLogin((base) => ({ ...base, issuer: front.issuer.replace('https:', 'http:') }));
    expect(reading.detail).toMatch(
      /GET http:\/\/localhost:\d+\/.*: (?:what it answers is not HTTP|the connection was)/,
    );
  });

  test('is gone when a code is redeemed', async () => {
    const world = await startWorld();
    world.provider.reset('code');
    expect((await world.client().navigate('/bff/login')).status).toBe(503);
    expect(causesIn(world, 'login.failed').join('\n')).toContain(
      `POST ${world.provider.issuer}/token: the connection was closed before the answer was complete`,
    );
  });

  test('has keys that cannot be fetched', async () => {
    const world = await startWorld({ providerUp: false });
    world.provider.fail('jwks', { status: 404 });
    await world.provider.up();
    expect((await world.client().navigate('/bff/login')).status).toBe(503);
    expect(causesIn(world, 'provider.keys_failed').join('\n')).toContain(
      `${world.provider.issuer}/jwks answers 404 without a key set`,
    );
  });
});

describe('a provider that refuses our own credentials', () => {
  const refusal: Failure = { status: 401, body: { error: 'invalid_client' } };

  test('is not called unavailable on the page', async () => {
    const world = await startWorld();
    world.provider.fail('code', refusal);
    const page = await world.client().navigate('/bff/login');
    const { title, detail } = readingOf(page);
    expect([page.status, title]).toEqual([503, unsuitable]);
    expect(page.text).toContain(`<title>${unsuitable}</title>`);
    expect(detail).toContain("client's secret, key or certificate, and the authentication method");
    expect(page.text).toContain('provider_unavailable');
  });

  test('has the title of its code in problem details, which is stable', async () => {
    const world = await startWorld();
    const browser = world.client();
    await signIn(browser);
    world.provider.fail('refresh', refusal);
    const answer = await browser.fetch('/bff/refresh', { method: 'POST' });
    expect([answer.status, answer.at('title'), answer.at('code')]).toEqual([
      503,
      'The identity provider is unavailable',
      'provider_unavailable',
    ]);
    expect(answer.at('detail')).toContain('must check the client id');
  });
});
