/**
 * The journeys of a user and of an administrator through docker-compose.yml's services, with Keycloak itself and a real
 * browser. The files' own commands and environments run here; see stack.ts.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { cookieName } from '../support/cookie-names.ts';
import { startApi } from '../support/api.ts';
import { startListener } from '../support/listener.ts';
import { boundTo } from '../support/proofs.ts';
import { createResourceServer } from '../support/resource-server.ts';
import { createKeycloakAdmin } from './keycloak-admin.ts';
import type { KeycloakAdmin } from './keycloak-admin.ts';
import { fullJourney, goThrough, makeClientFiles, verifiedClaims } from './own-client.ts';
import type { AudiencesOptions, OwnClientFiles } from './own-client.ts';
import { startClientWithAudiences, startClientWithCertificate, startClientWithKey } from './own-client.ts';
import * as pages from './pages.ts';
import { call, callWithCookie, readSession } from './pages.ts';
import { createStack } from './stack.ts';
import type { Stack } from './stack.ts';

let stack: Stack;
let admin: KeycloakAdmin;
let browser: Browser;
let spaFolder: string;
let files: OwnClientFiles;
/** Of Sallyport, besides those of the file. */
let variables: Record<string, string> = {};
let context: BrowserContext | undefined;

beforeAll(async () => {
  spaFolder = await mkdtemp(join(tmpdir(), 'sallyport-spa-'));
  await writeFile(join(spaFolder, 'index.html'), '<!doctype html><title>notes</title><h1>notes</h1>');
  files = await makeClientFiles();
  stack = await createStack({
    spaFolder,
    extraEnvironment: {
      keycloak: files.environment,
      get sallyport() {
        return variables;
      },
    },
  });
  // In the order of the file's `depends_on`.
  await Promise.all([stack.start('keycloak'), stack.start('valkey')]);
  await stack.start('api');
  await stack.start('sallyport');
  admin = createKeycloakAdmin({ url: stack.keycloakUrl, password: stack.adminPassword });
  browser = await launchChromium();
});

afterEach(async () => {
  await context?.close();
  context = undefined;
});

afterAll(async () => {
  await browser?.close();
  await stack?.close();
  await files?.close();
  await rm(spaFolder, { recursive: true });
});

test("signs in through Keycloak's page and keeps its tokens in one cookie hidden from scripts", async () => {
  const page = await newPage();

  await signIn(page, 'alice', '/welcome?tab=1#top');

  expect(page.url()).toBe(`${stack.origin}/welcome?tab=1#top`);
  const session = await readSession(page);
  expect(session).toMatchObject({
    authenticated: true,
    user: { preferred_username: 'alice', name: 'Alice Archer', email: 'alice@example.com' },
    accessToken: { refreshable: true },
  });
  expect(await page.evaluate('document.cookie')).toBe('');
  const cookies = await sallyportCookies();
  expect(cookies).toMatchObject([{ name: sessionName(), httpOnly: true, sameSite: 'Strict' }]);
  const bytes = cookies.reduce((sum, { name, value }) => sum + name.length + 1 + value.length, 0);
  process.stdout.write(`Keycloak's tokens take one cookie of ${bytes} bytes.\n`);
  expect(bytes).toBeLessThan(4096);
});

test('pushes the request to Keycloak, which offers that by itself: the browser carries a reference', async () => {
  const page = await newPage();
  const carried: string[][] = [];
  page.on('request', (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname.endsWith('/protocol/openid-connect/auth')) carried.push([...searchParams.keys()].toSorted());
  });

  await signIn(page, 'alice');

  expect(carried).toEqual([['client_id', 'request_uri']]);
  expect(await readSession(page)).toMatchObject({ authenticated: true });
});

test('calls the API with a JWT that the API verifies', async () => {
  const page = await newPage();
  await signIn(page, 'bob');

  const created = await call(page, '/api/notes', { method: 'POST', body: JSON.stringify({ text: 'milk' }) });
  const listed = await call(page, '/api/notes');

  expect(created.status).toBe(201);
  expect(listed.body).toMatchObject({ notes: [{ text: 'milk' }, { guarded: true }] });
});

test('redeems a rotated refresh token once for 30 calls at the same moment', async () => {
  const page = await newPage();
  await signIn(page, 'alice');
  const before = await call(page, '/api/token');
  await admin.clearEvents();
  expect((await call(page, '/api/token/expire', { method: 'POST' })).status).toBe(204);

  // Not from the page: a browser has only six connections to a host.
  const cookie = (await sallyportCookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => callWithCookie(`${stack.origin}/api/token`, cookie)),
  );

  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 30 }, () => 200));
  const tokenIds = new Set(answers.map(({ body }) => body['tokenId']));
  expect(tokenIds.size).toBe(1);
  expect(tokenIds).not.toContain(before.body['tokenId']);
  expect(await admin.events('REFRESH_TOKEN')).toHaveLength(1);
  expect(await admin.events('REFRESH_TOKEN_ERROR')).toEqual([]);
});

test('goes on with the rotated refresh token, again and again', async () => {
  const page = await newPage();
  await signIn(page, 'alice');
  await admin.clearEvents();

  for (let round = 0; round < 3; round += 1) {
    await call(page, '/api/token/expire', { method: 'POST' });
    expect((await call(page, '/api/notes')).status).toBe(200);
  }

  expect(await admin.events('REFRESH_TOKEN')).toHaveLength(3);
  expect(await admin.events('REFRESH_TOKEN_ERROR')).toEqual([]);
});

test('says session_expired after an administrator has ended the session, and signs in anew', async () => {
  const page = await newPage();
  await signIn(page, 'alice');
  await call(page, '/api/token/expire', { method: 'POST' });

  await admin.endSessions('alice');
  const refused = await call(page, '/api/notes');

  expect(refused.status).toBe(401);
  expect(refused.body).toMatchObject({ code: 'session_expired', loginUrl: expect.stringContaining('/bff/login') });
  expect(await readSession(page)).toMatchObject({ authenticated: false });
  expect(await sallyportCookies()).toEqual([]);
  await signIn(page, 'alice');
  expect(await readSession(page)).toMatchObject({ authenticated: true });
});

test('ends the session at once when an administrator ends it at Keycloak', async () => {
  const page = await newPage();
  await signIn(page, 'alice');
  expect((await call(page, '/api/notes')).status, 'the access token is good for minutes').toBe(200);

  await admin.endSessions('alice');

  // Keycloak answers the administrator when its logout token was taken.
  expect((await call(page, '/api/notes')).body).toMatchObject({ code: 'session_expired' });
  expect(await readSession(page)).toMatchObject({ authenticated: false });
  expect(stack.output('sallyport')).not.toContain('logout.token_refused');
  await signIn(page, 'alice');
  expect((await call(page, '/api/notes')).status, 'what ended before ends no newer session').toBe(200);
});

test("ends that session alone when an administrator ends one of a person's", async () => {
  const page = await newPage();
  await signIn(page, 'alice');
  const known = new Set((await admin.sessions('alice')).map(({ id }) => id));
  const elsewhere = await browser.newContext();
  const other = await elsewhere.newPage();
  await signIn(other, 'alice');
  const ended = (await admin.sessions('alice')).find(({ id }) => !known.has(id));

  await admin.endSession(ended?.id ?? 'none');

  expect((await call(other, '/api/notes')).body).toMatchObject({ code: 'session_expired' });
  expect((await call(page, '/api/notes')).status).toBe(200);
  await elsewhere.close();
});

test('ends the session when the person signs out at Keycloak itself', async () => {
  const page = await newPage();
  await signIn(page, 'bob');

  await page.goto(`${stack.keycloakUrl}/realms/sallyport/protocol/openid-connect/logout`);
  await page.click('#kc-logout');
  await page.waitForSelector('text=You are logged out');
  await page.goto(stack.origin);

  expect((await call(page, '/api/notes')).body).toMatchObject({ code: 'session_expired' });
  expect(await readSession(page)).toMatchObject({ authenticated: false });
});

test('ends the session here and at Keycloak at logout, without a question, and comes back', async () => {
  await admin.endSessions('alice');
  const page = await newPage();
  await signIn(page, 'alice');
  await admin.clearEvents();
  const { logoutUrl } = await readSession(page);
  const endSession = page.waitForRequest((request) => request.url().includes('/protocol/openid-connect/logout'));

  await page.goto(`${stack.origin}${String(logoutUrl)}`);

  const sent = new URL((await endSession).url()).searchParams;
  expect(sent.get('id_token_hint')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  expect(sent.get('post_logout_redirect_uri')).toBe(`${stack.origin}/`);
  expect(new URL(page.url()).origin + new URL(page.url()).pathname).toBe(`${stack.origin}/`);
  expect(await readSession(page)).toMatchObject({ authenticated: false });
  expect(await admin.events('REVOKE_GRANT'), 'the refresh token is revoked first').toHaveLength(1);
  expect(await admin.sessions('alice')).toEqual([]);
  await page.goto(loginUrl('/'));
  expect(page.url(), 'Keycloak asks for the password again').toContain(`${stack.keycloakUrl}/realms/sallyport/`);
});

test('an unregistered post-logout address ends at an error of Keycloak, the person still signed in', async () => {
  await admin.endSessions('alice');
  const page = await newPage();
  await signIn(page, 'alice');
  const query = new URLSearchParams({ client_id: 'sallyport', post_logout_redirect_uri: `${stack.origin}/goodbye` });

  await page.goto(`${stack.keycloakUrl}/realms/sallyport/protocol/openid-connect/logout?${query.toString()}`);

  expect(await page.textContent('#kc-error-message')).toContain('Invalid redirect uri');
  expect(await admin.sessions('alice')).toHaveLength(1);
});

test('prompt=none signs in silently, or comes back with ?login=required where nobody is found', async () => {
  const page = await newPage();

  await page.goto(loginUrl('/inbox', { prompt: 'none' }));
  expect(page.url()).toBe(`${stack.origin}/inbox?login=required`);

  await signIn(page, 'bob');
  // Keycloak's cookies stay, ours go: as after the lifetime of Sallyport's session.
  await context?.clearCookies({ name: sessionName() });
  await page.goto(loginUrl('/inbox', { prompt: 'none' }));
  expect(page.url()).toBe(`${stack.origin}/inbox`);
  expect(await readSession(page)).toMatchObject({ authenticated: true, user: { preferred_username: 'bob' } });
});

test('heeds acr_values and max_age: Keycloak asks for the password again, and the sign-in is as asked', async () => {
  const page = await newPage();
  await signIn(page, 'alice');
  await page.goto(loginUrl('/again'));
  expect(page.url(), 'without them, Keycloak asks nothing').toBe(`${stack.origin}/again`);

  await page.goto(loginUrl('/', { max_age: '0', acr_values: '1' }));

  await page.fill('#password', stack.demoPassword);
  await page.click('#kc-login');
  await page.waitForURL(`${stack.origin}/`);
  expect(await readSession(page)).toMatchObject({ authenticated: true, user: { preferred_username: 'alice' } });
});

test('a kind of sign-in that Keycloak does not know ends in a page that says so, and the session stays', async () => {
  const page = await newPage();
  await signIn(page, 'alice');

  await page.goto(loginUrl('/', { acr_values: 'urn:example:unknown' }));
  await page.fill('#password', stack.demoPassword);
  await page.click('#kc-login');
  await page.waitForURL((url) => url.pathname === '/bff/callback');

  expect(await page.innerText('h1')).toBe('This sign-in is not enough');
  // The page's own policy lets nothing be fetched from it.
  await page.goto(stack.origin);
  expect(await readSession(page)).toMatchObject({ authenticated: true, user: { preferred_username: 'alice' } });
});

test('takes kc_idp_hint to the identity provider that it names', async () => {
  const partner = await startListener((_request, response) => response.end('the partner'));
  const partnerUrl = `http://localhost:${partner.port}/authorize`;
  await admin.addIdentityProvider('partner', partnerUrl);
  const page = await newPage();

  await page.goto(loginUrl('/', { kc_idp_hint: 'partner' }));

  expect(page.url()).toContain(`${partnerUrl}?`);
  expect(new URL(page.url()).searchParams.get('client_id')).toBe('keycloak-broker');
  await partner.close();
});

test('authenticates by its private key, whose public part Keycloak fetches from it', async () => {
  const own = await startClientWithKey({ files, spaFolder, stack, admin });
  onTestFinished(() => own.close());

  expect(await goThrough(own, await newPage(), stack.demoPassword)).toEqual(fullJourney);
});

test('authenticates by its certificate, at the addresses that Keycloak has for those', async () => {
  const own = await startClientWithCertificate({ files, spaFolder, stack, admin });
  onTestFinished(() => own.close());

  expect(await goThrough(own, await newPage(), stack.demoPassword)).toEqual(fullJourney);
});

test("exchanges the session's token for one that names one API alone", async () => {
  const api = await startApi();
  onTestFinished(() => api.close());
  const { page, logs } = await signInWithAudiences({
    audiences: ['orders', 'stock'],
    attributes: { 'standard.token.exchange.enabled': 'true' },
    api: [
      { path: '/api/orders', target: api.url, token: { exchange: { audience: 'orders' } } },
      { path: '/api/session', target: api.url },
    ],
  });

  const statuses = [(await call(page, '/api/session')).status, (await call(page, '/api/orders')).status];

  expect([statuses, logs.filter((line) => line.includes('_failed'))]).toEqual([[200, 200], []]);
  const [session, exchanged] = await verifiedClaims(api.requests, stack);
  expect(session?.aud).toEqual(expect.arrayContaining(['orders', 'stock']));
  expect(exchanged).toMatchObject({ aud: 'orders', sub: session?.sub, sid: session?.['sid'] });
});

test('keeps a lightweight token, and gives the API the JWT that stands for it', async () => {
  const api = await startApi();
  onTestFinished(() => api.close());
  const { page, logs } = await signInWithAudiences({
    audiences: ['invoices'],
    attributes: {
      'client.use.lightweight.access.token.enabled': 'true',
      'client.introspection.response.allow.jwt.claim.enabled': 'true',
    },
    api: [
      { path: '/api/invoices', target: api.url, token: { phantom: { audience: 'invoices' } } },
      { path: '/api/session', target: api.url, token: { introspect: true } },
    ],
  });

  const statuses = [(await call(page, '/api/session')).status, (await call(page, '/api/invoices')).status];

  expect([statuses, logs.filter((line) => /_failed|inactive/.test(line))]).toEqual([[200, 200], []]);
  const [lightweight, phantom] = await verifiedClaims(api.requests, stack);
  expect([lightweight?.sub, lightweight?.aud]).toEqual([undefined, undefined]);
  expect((await readSession(page))['user']).toMatchObject({ sub: phantom?.sub });
  expect([phantom?.jti, phantom?.aud]).toEqual([lightweight?.jti, expect.arrayContaining(['invoices'])]);
});

test('keeps sessions while Keycloak is down, with 503 where it is needed, until it is back', async () => {
  const page = await newPage();
  await signIn(page, 'alice');

  await stack.stop('keycloak');
  expect((await call(page, '/api/notes')).status, 'the access token is still good').toBe(200);
  await call(page, '/api/token/expire', { method: 'POST' });
  const unavailable = await call(page, '/api/notes');
  expect(unavailable.status).toBe(503);
  expect(unavailable.body).toMatchObject({ code: 'provider_unavailable' });
  expect(await readSession(page)).toMatchObject({ authenticated: true });

  await stack.start('keycloak');
  await expect.poll(async () => (await call(page, '/api/notes')).status, { timeout: 30_000 }).toBe(200);
});

test("accepts Keycloak's new signing key, at refresh and at login, without a restart", async () => {
  const page = await newPage();
  await signIn(page, 'alice');

  await admin.rotateKeys();
  // The token of the refresh is signed with the new key. The API may be slower to learn it, and is not asked.
  const refreshed = await call(page, '/bff/refresh', { method: 'POST' });

  expect(refreshed.status).toBe(200);
  expect(refreshed.body).toMatchObject({ authenticated: true });
  const other = await newPage();
  await signIn(other, 'bob');
  expect(await readSession(other)).toMatchObject({ authenticated: true });
});

// The last one: nothing after it needs Sallyport as the file has it.
test('binds tokens to a key of the session, which it proves to Keycloak and to the API', async () => {
  const issuer = `${stack.keycloakUrl}/realms/sallyport`;
  const jwksUri = `${issuer}/protocol/openid-connect/certs`;
  const resources = createResourceServer({ issuer, jwksUri, audience: 'notes-api' });
  const api = await startApi();
  onTestFinished(() => api.close());
  api.answer(resources.answer);
  await restartSallyport({ SALLYPORT_CLIENT_DPOP: 'ES256', SALLYPORT_API: `/api=${api.url}` });
  const page = await newPage();
  await signIn(page, 'alice');
  await admin.clearEvents();

  const before = await call(page, '/api/notes?open=1');
  const refreshed = await call(page, '/bff/refresh', { method: 'POST' });
  const after = await call(page, '/api/notes', { method: 'POST', body: '{}' });

  expect([before.status, refreshed.status, after.status, resources.faults]).toEqual([200, 200, 200, []]);
  const [first, second] = api.requests.map(({ token }) => token);
  expect(second).not.toBe(first);
  expect(boundTo(second)).toBe(boundTo(first));
  expect(await admin.events('REFRESH_TOKEN_ERROR')).toEqual([]);
});

async function signInWithAudiences(options: AudiencesOptions): Promise<{ page: Page; logs: readonly string[] }> {
  const { origin, logs, close } = await startClientWithAudiences({ spaFolder, stack, admin }, options);
  onTestFinished(close);
  const page = await newPage();
  await pages.signIn(page, { origin, username: 'alice', password: stack.demoPassword });
  return { page, logs };
}

async function restartSallyport(changed: Record<string, string>): Promise<void> {
  variables = changed;
  await stack.stop('sallyport');
  await stack.start('sallyport');
}

async function newPage(): Promise<Page> {
  await context?.close();
  // Keycloak's port for TLS has a certificate of the tests.
  context = await browser.newContext({ ignoreHTTPSErrors: true });
  return context.newPage();
}

function loginUrl(returnTo: string, parameters: Record<string, string> = {}): string {
  return pages.loginUrl(stack.origin, returnTo, parameters);
}

function signIn(page: Page, username: string, returnTo = '/'): Promise<void> {
  return pages.signIn(page, { origin: stack.origin, username, password: stack.demoPassword, returnTo });
}

function sessionName(): string {
  return cookieName('session', stack.origin);
}

/** Keycloak is on localhost too, and cookies know no ports: its own are left out. */
async function sallyportCookies(): Promise<Awaited<ReturnType<BrowserContext['cookies']>>> {
  const cookies = (await context?.cookies(stack.origin)) ?? [];
  return cookies.filter(
    ({ name }) => name.startsWith(sessionName()) || name.startsWith(cookieName('login-', stack.origin)),
  );
}
