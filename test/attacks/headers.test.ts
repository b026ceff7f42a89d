/**
 * The attacker's story: "APIs trust their proxy. So I write what the proxy would write: who I am, where I come from,
 * which token I hold, in every spelling that some server folds into the real name. And if I own an API, or only get a
 * header into its answers, I go for the browser: I set the session cookie, clear the site's data, open the origin to my
 * page, or have a cache keep one person's answer for everybody."
 *
 * Must hold: the API gets identity headers and a token from Sallyport only, and an API's answer sets no cookie of
 * Sallyport's, grants no other origin access and is kept by no shared cache.
 */
import { array, assert, asyncProperty, constantFrom, record, string, tuple } from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { rawCall, sendRaw } from '../support/raw-call.ts';
import { rawRequest, startRawServer } from '../support/raw.ts';
import { callHead, exchange, valuesOf as wireValuesOf } from '../support/wire.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const letter = constantFrom('a', 'e', 'k', 'T', 'x', '9', '-', '_', '!', '~', '.');

let world: World;
let alice: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  alice = world.client();
  await signIn(alice);
});

beforeEach(() => {
  world.api.requests.length = 0;
  world.api.answer();
});

afterAll(() => world.stop());

/** The header lines that the API got, names in lower case. */
function received(): Array<readonly [name: string, value: string]> {
  const { rawHeaders } = world.api.last();
  const pairs: Array<readonly [string, string]> = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    pairs.push([(rawHeaders[at] ?? '').toLowerCase(), rawHeaders[at + 1] ?? '']);
  }
  return pairs;
}

function valuesOf(name: string): string[] {
  return received()
    .filter(([given]) => given.replaceAll('_', '-') === name)
    .map(([, value]) => value);
}

/** Names by which an API learns from its proxy who calls and from where, what to do, and how to frame. */
const dropped = words(`
  Authorization Proxy-Authorization Cookie2 X-CSRF Forwarded Via X-Forwarded-By X-Forwarded-Server X-Forwarded-Port
  X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Access-Token X-Forwarded-Client-Cert
  X-Forwarded-Prefix X-Forwarded-Uri X-Forwarded-Method X-Real-IP X-Client-IP X-Cluster-Client-IP True-Client-IP
  CF-Connecting-IP Fastly-Client-IP Client-IP X-Original-URL X-Rewrite-URL X-Original-URI X-Original-Host X-Host
  X-HTTP-Method X-HTTP-Method-Override X-Method-Override Remote-User X-Remote-User X-User X-User-Id X-Username X-Email
  X-Groups X-Roles X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Access-Token X-Authenticated-User
  X-Authenticated-UserId X-Access-Token X-ID-Token X-MS-Client-Principal X-MS-Client-Principal-Id
  X-Goog-Authenticated-User-Email X-Client-Cert X-SSL-Client-Cert X-SSL-Client-Verify SSL-Client-Verify
  X-Envoy-External-Address X-Envoy-Original-Path TE Trailer Keep-Alive Proxy-Connection HTTP2-Settings
  Secure-Session-Response Secure-Session-Skipped Sec-Secure-Session-Id Sec-Session-Response Sec-Session-Id
`);

/** The same of products by their documentation, as their gateways write them. */
const ofGateways = words(`
  Remote-Name Remote-Groups Remote-Email REMOTE_ADDR X-Remote-Group X-Remote-Extra-Scopes X-Remote-Uid
  X-authentik-username X-authentik-groups X-authentik-entitlements X-authentik-email X-authentik-jwt
  X-authentik-meta-app X-WEBAUTH-USER X-WEBAUTH-ROLE Cf-Access-Jwt-Assertion Cf-Access-Authenticated-User-Email
  CF-Connecting-IPv6 Cf-Pseudo-IPv4 Cf-Client-Cert-Subject-Dn X-Amzn-Oidc-Data X-Amzn-Oidc-Identity
  X-Amzn-Oidc-Accesstoken X-Amzn-Mtls-Clientcert-Subject x-amzn-request-context x-amzn-lambda-context
  CloudFront-Viewer-Address X-MS-CLIENT-PRINCIPAL-NAME X-MS-TOKEN-AAD-ID-TOKEN X-Azure-ClientIP X-Azure-FDID
  X-ARR-ClientCert X-Goog-IAP-JWT-Assertion X-Goog-Authenticated-User-ID X-Serverless-Authorization
  X-Apigateway-Api-Userinfo X-Endpoint-API-UserInfo X-AppEngine-User-Email SSL_CLIENT_S_DN SSL_CLIENT_CERT
  SSL_CLIENT_VERIFY X-SSL-Client-CN X-Client-DN Client-Cert Client-Cert-Chain OIDC_CLAIM_sub OIDC_CLAIM_email
  OIDC_access_token MELLON_NAME_ID CAS-User Shib-Session-ID Shib-Identity-Provider eppn SM_USER SM_USERDN iv-user
  iv-groups iv-creds OAM_REMOTE_USER Osso-User-Dn WL-Proxy-Client-IP Proxy-Client-IP $WSRU X-Auth-Username X-Auth-Roles
  X-Auth-Subject X-Auth-Token X-Consumer-Username X-Consumer-Groups X-Anonymous-Consumer X-Credential-Identifier
  X-Authenticated-Scope X-Userinfo X-Refresh-Token X-JWT-Assertion X-Pomerium-Jwt-Assertion X-Pomerium-Claim-Email
  X-Vouch-User X-Vouch-IdP-Claims-Groups X-Token-User-Email X-Token-Subject X-Kratos-Authenticated-Identity-Id
  Tailscale-User-Login Ngrok-Auth-User-Email Teleport-Jwt-Assertion X-Sandstorm-User-Id dapr-caller-app-id
  Fly-Client-IP X-Vercel-Forwarded-For X-NF-Client-Connection-IP X-Original-Forwarded-For X-Original-Method
  X-Url-Scheme Front-End-Https X-Middleware-Subrequest
`);

/** Ours: they stand there once, with our value. */
const setByUs = [
  'authorization',
  'host',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-prefix',
];

const spellings: ReadonlyArray<(name: string) => string> = [
  (name) => name,
  (name) => name.toLowerCase(),
  (name) => name.toUpperCase(),
  (name) => name.replaceAll('-', '_'),
  (name) => name.toUpperCase().replaceAll('-', '_'),
  (name) => name.replace('-', '_'),
  (name) => name.replace(/-(?=[^-]*$)/, '_'),
  (name) => name.replaceAll('-', '.'),
];

describe('what the client says of itself', () => {
  test.each([...dropped, ...ofGateways])('%s never passes, however it is spelled', async (name) => {
    const lines = spellings.map((spell) => `${spell(name)}: forged-canary`);
    const answer = await sendRaw(world, alice, { target: '/api/me', lines });
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(received().filter(([, value]) => value.includes('forged-canary'))).toEqual([]);
    for (const own of setByUs) expect(valuesOf(own)).toHaveLength(1);
  });

  test.each(['X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Forwarded-Prefix'])(
    '%s is ours alone',
    async (name) => {
      const lines = spellings.map((spell) => `${spell(name)}: 6.6.6.6`);
      await sendRaw(world, alice, { target: '/api/me', lines });
      const own = {
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-host': new URL(world.origin).host,
        'x-forwarded-proto': 'http',
        'x-forwarded-prefix': '/api',
      };
      for (const [header, value] of Object.entries(own)) expect(valuesOf(header)).toEqual([value]);
    },
  );

  test.each(
    words(`
      X-User-Agent X-Client-Info X-Client-Version X-Request-Id X-Requested-With X-XSRF-TOKEN X-Amzn-Trace-Id traceparent
      CF-Ray X-Auth-Signature X-Original-Filename X-Tenant-Id X-Hasura-Role Impersonate-User Content-Type Accept
      If-Match Idempotency-Key SOAPAction Client-Id Subject
    `),
  )('%s is the app’s own and passes', async (name) => {
    await sendRaw(world, alice, { target: '/api/me', lines: [`${name}: kept-canary`] });
    expect(received()).toContainEqual([name.toLowerCase(), 'kept-canary']);
  });

  test('Authorization: exactly one arrives, with the session’s token', async () => {
    const lines = ['Authorization: Bearer forged', 'authorization: Basic Zm9yZ2Vk', 'AUTHORIZATION: x'];
    await sendRaw(world, alice, { target: '/api/me', lines });
    const [authorization, ...others] = valuesOf('authorization');
    expect(others).toEqual([]);
    expect(world.provider.secrets.get(authorization?.replace(/^Bearer /, '') ?? '')).toBe('accessToken');
  });

  test('Cookie: none arrives, ours or another’s', async () => {
    await sendRaw(world, alice, { target: '/api/me', lines: ['Cookie: tracking=1', 'cookie: b=2', 'COOKIE: c=3'] });
    expect(received().filter(([name]) => /cookie/.test(name))).toEqual([]);
  });

  test('headers that Connection names stay on the connection, and ours arrive all the same', async () => {
    const nominated = ['Authorization', 'x-forwarded-for', 'Host', 'X-Hop', 'x-hop-two', 'Content-Length', 'cookie'];
    const answer = await sendRaw(world, alice, {
      method: 'POST',
      target: '/api/me',
      lines: [`Connection: ${nominated.join(' , ')}`, 'X-Hop: 1', 'X-HOP-TWO: 2', 'X-Kept: 3', 'Content-Length: 2'],
      body: 'hi',
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(received().map(([name]) => name)).toEqual(expect.arrayContaining([...setByUs, 'x-kept', 'content-length']));
    expect(received().filter(([name]) => name.startsWith('x-hop'))).toEqual([]);
    expect(world.api.last().body.toString()).toBe('hi');
  });

  test('any other header arrives as it was sent, and nothing is added but ours', async () => {
    const name = tuple(
      constantFrom('X-', 'x-', 'Accept-', 'If-', 'Content-', 'Q'),
      string({ unit: letter, minLength: 1, maxLength: 12 }),
    );
    const value = string({
      unit: constantFrom('a', 'Z', '0', ' ', ';', '=', '"', ',', '/', ':', '\u00e9', '\t'),
      maxLength: 30,
    });
    const header = record({ name: name.map((parts) => parts.join('')), value: value.map((text) => text.trim()) });
    await assert(
      asyncProperty(array(header, { maxLength: 8 }), async (headers) => {
        const sent = headers.filter((one) => !isOurs(one.name)).map((one) => [one.name.toLowerCase(), one.value]);
        const lines = headers.map((one) => `${one.name}: ${one.value}`);
        const answer = await sendRaw(world, alice, { target: '/api/me', lines });
        expect(answer).toMatch(/^HTTP\/1\.1 200 /);
        const rest = received().filter(([given]) => ![...setByUs, 'connection', ...ownMetadata].includes(given));
        expect(rest).toEqual(sent);
      }),
      { numRuns: 60 },
    );
  });
});

const ownMetadata = ['sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest'];

/** Names that the generator may hit by chance and that are not to pass, or that frame the message. */
function isOurs(name: string): boolean {
  const folded = name.toLowerCase().replace(/[^a-z0-9]/g, '-');
  return folded === 'x-csrf' || folded === 'content-length' || dropped.some((one) => one.toLowerCase() === folded);
}

/** The `X-Forwarded-For` that the API gets. */
async function chainWith(trustedProxies: string[], forwarded: string[]): Promise<string[]> {
  const own = await startWorld({ config: { trustedProxies } });
  const browser = own.client();
  await signIn(browser);
  const lines = forwarded.map((value) => `X-Forwarded-For: ${value}`);
  const answer = await sendRaw(own, browser, { target: '/api/me', lines: [...lines, 'X-Forwarded-Host: evil.test'] });
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(own.api.last().headers).toMatchObject({
    'x-forwarded-host': new URL(own.origin).host,
    'x-forwarded-proto': 'http',
  });
  return String(own.api.last().headers['x-forwarded-for']).split(', ');
}

describe('forwarded headers', () => {
  test('of a peer that isn’t trusted are its own words', async () => {
    expect(await chainWith([], ['203.0.113.7'])).toEqual(['127.0.0.1']);
    expect(await chainWith(['10.0.0.0/8', '::1'], ['203.0.113.7, 10.0.0.1'])).toEqual(['127.0.0.1']);
  });

  test('of a trusted proxy name the client, and what the client claimed before is cut off', async () => {
    expect(await chainWith(['127.0.0.1'], ['203.0.113.7'])).toEqual(['203.0.113.7', '127.0.0.1']);
    expect(await chainWith(['127.0.0.0/8', '10.0.0.0/8'], ['6.6.6.6, 203.0.113.7, 10.1.2.3'])).toEqual([
      '203.0.113.7',
      '10.1.2.3',
      '127.0.0.1',
    ]);
    expect(await chainWith(['127.0.0.1'], ['6.6.6.6', '203.0.113.7'])).toEqual(['203.0.113.7', '127.0.0.1']);
    expect(await chainWith(['127.0.0.1'], ['::ffff:203.0.113.7'])).toEqual(['203.0.113.7', '127.0.0.1']);
    expect(await chainWith(['127.0.0.1', '2001:db8::/32'], ['6.6.6.6, 2001:dead::1, 2001:db8::1'])).toEqual([
      '2001:dead::1',
      '2001:db8::1',
      '127.0.0.1',
    ]);
  });

  test('that hold no address bring none in', async () => {
    for (const forwarded of ['unknown', 'evil.test', '_hidden', '"', "1' OR '1'='1", ',,,', '203.0.113.7:80, <b>']) {
      expect(await chainWith(['127.0.0.1'], [forwarded])).toEqual(['127.0.0.1']);
    }
  });
});

/** A signed-in call's answer where the API answers with these header lines. */
async function answerOf(lines: string[]): Promise<Exchange> {
  const api = await startRawServer((socket) =>
    socket.end(`HTTP/1.1 200 OK\r\n${lines.join('\r\n')}\r\nContent-Length: 2\r\n\r\nok`),
  );
  const own = await startWorld({ config: { api: [{ path: '/api', target: api.url }] } });
  const browser = own.client();
  await signIn(browser);
  const answer = await browser.fetch('/api/me');
  await api.close();
  return answer;
}

/** With the names of the world's cookies in place of the plain ones, spelled alike. */
function ofThisPort(line: string): string {
  return line.replace(/(?<!-)(?:session|logout)/i, (plain) => `${plain}-${new URL(world.origin).port}`);
}

/** As a login transaction's is, of this moment. */
async function loginCookieName(browser = world.client()): Promise<string> {
  await browser.navigate('/bff/login', { follow: false });
  const [cookie] = browser.cookies.all();
  if (cookie === undefined) throw new Error('a sign-in has begun without a cookie');
  return cookie.name;
}

describe('what an API says to the browser', () => {
  const forged = [
    'session=evil; Path=/',
    'SESSION=evil',
    'Session=evil; Max-Age=0; Path=/',
    ' session=evil',
    '\tsession=evil',
    'session =evil',
    'session.1=evil',
    'session.4=; Max-Age=0',
    'LOGIN=evil',
    'LOGIN =; Max-Age=0; Path=/',
    'logout=evil',
    'logout\t=evil',
    'logout-return-Ab3_-f6h8j=evil; Path=/',
    'logout-return-=evil',
    '=session=evil',
    ' = session=evil',
    '==session=evil',
    '=session.2=evil',
    '=logout=evil',
    'session',
    '=LOGIN=evil',
    '__Host-Http-session=evil; Secure; Path=/',
    '__host-http-session=evil',
    '__HOST-HTTP-LOGIN=evil',
    '=__Host-Http-session=evil',
    '__Host-Http-session.1=; Max-Age=0; Path=/; Secure; HttpOnly',
    '__Host-Http-logout=evil',
    '__host-http-logout-return-Ab3_-f6h8j=evil',
  ];
  /** An API's own, on the port beside ours: whole names count. */
  const harmless = words(`
    sessionid session_id session-id sessions session.id mysession logout_reason logouts logout-return login login_hint my-login
    JSESSIONID connect.sid
  `);

  test('sets, changes and clears no cookie of ours', async () => {
    const before = JSON.stringify(alice.cookies.all());
    const login = await loginCookieName();
    for (const line of forged.map((pattern) => ofThisPort(pattern).replace('LOGIN', login))) {
      world.api.answer({ headers: { 'set-cookie': [line, 'fine=1; Path=/'] } });
      const answer = await alice.fetch('/api/me');
      expect([line, answer.setCookies]).toEqual([line, ['fine=1; Path=/']]);
    }
    alice.cookies.remove('fine');
    expect(JSON.stringify(alice.cookies.all())).toBe(before);
  });

  test('sets no prefixed cookie of ours on an https origin, where the plain names are its own', async () => {
    const secure = await startWorld({
      origin: 'https://app.example.test',
      config: (base) => ({ ...base, listen: { ...base.listen, host: '127.0.0.1' } }),
    });
    const browser = secure.client();
    await signIn(browser);
    const login = (await loginCookieName(secure.client())).replace('__Host-Http-', '');
    const prefixed = forged.filter((line) => /__host/i.test(line)).map((line) => line.replace('LOGIN', login));
    const plain = ['session=1', 'logout=1', 'session.1=1', `${login}=1`, ...harmless.map((name) => `${name}=1`)];
    secure.api.answer({ headers: { 'set-cookie': [...prefixed, ...plain] } });
    expect((await browser.fetch('/api/me')).setCookies).toEqual(plain);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('sets cookies of its own whose names only begin like ours, or are those of another port', async () => {
    const port = new URL(world.origin).port;
    const ofOtherPorts = ['', `-${port}0`, '-1'].flatMap((number) => [
      `session${number}`,
      `session${number}.1`,
      `logout${number}`,
      `login${number}-abcdefgh-0123456789`,
    ]);
    const lines = [...harmless, ...ofOtherPorts].map((name) => `${name}=1; Path=/`);
    world.api.answer({ headers: { 'set-cookie': lines } });
    expect((await alice.fetch('/api/me')).setCookies).toEqual(lines);
    world.api.answer();
    expect((await alice.fetch('/api/me')).at('sub')).toBe('alice');
    expect((await alice.fetch('/bff/session')).at('authenticated')).toBe(true);
    for (const name of [...harmless, ...ofOtherPorts]) alice.cookies.remove(name);
  });

  test('is not counted among sign-ins for cookies that another app on this host has set', async () => {
    const browser = world.client();
    await signIn(browser);
    const others = [
      'login-abcdefgh-0123456789',
      'login-1-abcdefgh-0123456789',
      ...Array.from({ length: 6 }, (_, index) => browser.own(`login-zzzzzz-${index}`)),
    ];
    for (const name of others) browser.cookies.put({ name, value: '1', domain: 'localhost' });
    for (let count = 0; count < 5; count += 1) {
      const { setCookies } = await browser.navigate('/bff/login', { follow: false });
      expect(setCookies.map((line) => line.replace(/=.*/, '')).filter((name) => others.includes(name))).toEqual([]);
    }
    const page = await signIn(browser, 'alice', '/orders');
    expect(page.url).toBe(`${world.origin}/orders`);
    expect(others.filter((name) => browser.cookies.get(name) === undefined)).toEqual([]);
  });

  test('in any spelling of a cookie’s line', async () => {
    const edge = constantFrom('', ' ', '=', ' =', '= ', '\t', ' = = ');
    const login = await loginCookieName();
    const own = constantFrom(
      ...['session', 'session.1', 'session.3', 'logout'].map(ofThisPort),
      login,
      // Another one's.
      login.replace(/..$/, 'xy'),
      '__Host-Http-session',
      `__Host-Http-${login}`,
    );
    const tail = constantFrom('=evil', ' =evil', '', '=; Max-Age=0', '=evil; Domain=localhost', '=a=b');
    const casing = constantFrom(
      (text: string) => text,
      (text: string) => text.toUpperCase(),
      (text: string) => text.toLowerCase(),
    );
    await assert(
      asyncProperty(edge, own, tail, casing, async (before, name, after, spell) => {
        world.api.answer({ headers: { 'set-cookie': `${before}${spell(name)}${after}` } });
        expect((await alice.fetch('/api/me')).setCookies).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });

  test('opens the origin to no other, and clears or moves nothing of it', async () => {
    world.api.answer({
      headers: {
        'access-control-allow-origin': 'https://evil.test',
        'Access-Control-Allow-Credentials': 'true',
        'ACCESS-CONTROL-EXPOSE-HEADERS': '*',
        'access-control-max-age': '600',
        'access-control-anything-new': 'x',
        'clear-site-data': '"*"',
        'alt-svc': 'h3="evil.test:443"',
        'proxy-authenticate': 'Basic',
        'keep-alive': 'timeout=999',
        upgrade: 'h2c',
        trailer: 'set-cookie, access-control-allow-origin',
        'x-fine': 'kept',
      },
    });
    const answer = await alice.fetch('/api/me');
    expect(answer.headers['x-fine']).toBe('kept');
    const names = Object.keys(answer.headers).filter((name) =>
      /^access-control|^clear|^alt|^proxy|^upgrade|^trailer/.test(name),
    );
    expect(names).toEqual([]);
    expect(answer.headers['keep-alive']).not.toBe('timeout=999');
  });

  /** Said for the whole origin, or granting something to others; each with "evil" in its value. */
  const aboutTheOrigin = [
    'Strict-Transport-Security: max-age=31536000; evil',
    'Public-Key-Pins: pin-sha256="evil"; max-age=5184000',
    'Public-Key-Pins-Report-Only: pin-sha256="evil"; report-uri="https://evil.test"',
    'Expect-CT: max-age=86400, enforce, report-uri="https://evil.test"',
    'Alt-Svc: h3="evil.test:443"; ma=86400',
    'Clear-Site-Data: "*", "evil"',
    'NEL: {"report_to":"evil","max_age":86400,"include_subdomains":true}',
    'Report-To: {"group":"evil","max_age":86400,"endpoints":[{"url":"https://evil.test"}]}',
    'Reporting-Endpoints: default="https://evil.test/reports"',
    'Origin-Agent-Cluster: ?0;evil',
    'Accept-CH: Sec-CH-UA-Evil',
    'Critical-CH: Sec-CH-UA-Evil',
    'Service-Worker-Allowed: /;evil',
    'Set-Login: logged-out;evil',
    'Secure-Session-Registration: (ES256);path="/evil";challenge="evil"',
    'Secure-Session-Challenge: "evil";id="evil"',
    'Sec-Session-Registration: (ES256);path="/evil";challenge="evil"',
    'Sec-Session-Challenge: "evil"',
    'Timing-Allow-Origin: https://evil.test',
    'Access-Control-Allow-Origin: https://evil.test',
    'Access-Control-Allow-Headers: evil',
    'Access-Control-Anything-New: evil',
    'X-Permitted-Cross-Domain-Policies: all;evil',
    'Use-As-Dictionary: match="/evil/*"',
    'Supports-Loading-Mode: credentialed-prerender, evil',
    'Activate-Storage-Access: retry; allowed-origin="https://evil.test"',
    'Speculation-Rules: "/evil.json"',
  ];

  test('speaks for nothing but its own answer: not early, not in the answer, not in a trailer', async () => {
    const names = aboutTheOrigin.map((line) => line.slice(0, line.indexOf(':')));
    const lines = `${aboutTheOrigin.join('\r\n')}\r\n${aboutTheOrigin.join('\r\n').toLowerCase()}\r\n`;
    const api = await startRawServer((socket) =>
      socket.end(
        `HTTP/1.1 103 Early Hints\r\n${lines}Link: </early.css>; rel=preload\r\n\r\n` +
          `HTTP/1.1 200 OK\r\n${lines}X-Fine: kept\r\nTrailer: X-Checksum, ${names.join(', ')}\r\n` +
          `Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${lines}X-Checksum: 1\r\n\r\n`,
      ),
    );
    onTestFinished(() => api.close());
    const own = await startWorld({ config: { api: [{ path: '/api', target: api.url }] } });
    const browser = own.client();
    await signIn(browser);
    const { responses } = await exchange(
      own.server.port,
      `${callHead(browser, 'GET', '/api/me')}TE: trailers\r\nConnection: close\r\n\r\n`,
    );
    const [early, final] = responses;
    expect(early).toMatchObject({ status: 103, fields: [['link', '</api/early.css>; rel=preload']] });
    expect(final).toMatchObject({ status: 200, complete: true, trailers: [['x-checksum', '1']] });
    expect(wireValuesOf(final?.fields ?? [], 'x-fine')).toEqual(['kept']);
    expect(wireValuesOf(final?.fields ?? [], 'trailer')).toEqual(['X-Checksum']);
    expect(responses.flatMap(({ fields }) => fields).filter(([, value]) => value.includes('evil'))).toEqual([]);
  });

  test('nor when it takes or refuses a WebSocket', async () => {
    for (const head of ['101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade', '403 Forbidden']) {
      let name = '';
      const api = await startRawServer((socket) =>
        socket.end(
          `HTTP/1.1 ${head}\r\n${aboutTheOrigin.join('\r\n')}\r\nSet-Cookie: ${name}=evil\r\nX-Fine: kept\r\n\r\n`,
        ),
      );
      const own = await startWorld({ config: { api: [{ path: '/api', target: api.url }] } });
      const browser = own.client();
      name = browser.own('session');
      await signIn(browser);
      const upgrade = [
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ];
      const answer = await rawRequest(
        own.server.port,
        rawCall(own, browser, {
          target: '/api/events',
          lines: [`Origin: ${own.origin}`, 'Connection: Upgrade', ...upgrade],
        }),
      );
      await api.close();
      expect(answer.toString('latin1')).toMatch(new RegExp(`^HTTP/1.1 ${head.slice(0, 3)} [^]*x-fine: kept`, 'i'));
      expect(answer.toString('latin1')).not.toContain('evil');
    }
  });

  test('is kept by no cache unless it says so, and never with our cookie in it', async () => {
    const cached = async () => (await alice.fetch('/api/me')).headers['cache-control'];
    expect(await cached()).toBe('no-store');
    world.api.answer({ status: 404, headers: { etag: '"1"', expires: 'Thu, 01 Jan 2099 00:00:00 GMT' } });
    expect(await cached()).toBe('no-store');
    world.api.answer({ headers: { 'cache-control': 'public, max-age=60' } });
    expect(await cached()).toBe('public, max-age=60');
    world.api.answer((request) =>
      request.token === spent ? { status: 401 } : { headers: { 'Cache-Control': ['public', 'max-age=60'] } },
    );
    const spent = world.api.last().token;
    const renewed = await alice.fetch('/api/me');
    expect(renewed.setCookies).toHaveLength(1);
    expect(renewed.headers['cache-control']).toBe('no-store');
  });

  test('is kept by no CDN either when our cookie is in it, whatever it says to CDNs in particular', async () => {
    const forCdns = {
      'CDN-Cache-Control': 'public, max-age=600',
      'Cloudflare-CDN-Cache-Control': 'max-age=600',
      'Surrogate-Control': 'max-age=600',
      'X-Accel-Expires': '600',
    };
    const toldTo = (answer: Exchange) =>
      Object.keys(forCdns).filter((name) => answer.headers[name.toLowerCase()] !== undefined);
    world.api.answer({ headers: { ...forCdns, 'cache-control': 'public' } });
    expect(toldTo(await alice.fetch('/api/me'))).toEqual(Object.keys(forCdns));
    const spent = world.api.last().token;
    world.api.rejectTokens((token) => token === spent);
    const renewed = await alice.fetch('/api/me');
    expect(renewed.status).toBe(200);
    expect(renewed.setCookies).toHaveLength(1);
    expect(renewed.headers['cache-control']).toBe('no-store');
    expect(toldTo(renewed)).toEqual([]);
  });

  test('with headers of its own connection, said once or many times, stays on that connection', async () => {
    const once = await answerOf([
      'Connection: close, X-Hop, Cache-Control',
      'X-Hop: 1',
      'Cache-Control: public',
      'X-Fine: 1',
    ]);
    expect([once.status, once.text, once.headers['x-hop'], once.headers['x-fine']]).toEqual([
      200,
      'ok',
      undefined,
      '1',
    ]);
    expect(once.headers['cache-control']).toBe('no-store');
    const twice = await answerOf(['Connection: close', 'Connection: X-Hop', 'X-Hop: 1', 'X-Fine: 1']);
    expect([twice.status, twice.text, twice.headers['x-hop'], twice.headers['x-fine']]).toEqual([
      200,
      'ok',
      undefined,
      '1',
    ]);
  });
});

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}
