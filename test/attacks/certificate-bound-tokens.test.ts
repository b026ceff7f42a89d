/**
 * The thief's story, with certificates: "I have an access token that is bound to the certificate of the client (RFC 8705).
 * I call the API with a certificate of mine, or let somebody else's connection carry it. And when the certificate is
 * renewed, I look for the connection that still shows the old one."
 *
 * Must hold: a route's calls show its certificate and no other route's, the API finds in each token the thumbprint of what
 * the connection shows, and a new certificate needs neither a restart nor luck.
 */
import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { decodeJwt } from 'jose';
import { expect, onTestFinished, test, vi } from 'vitest';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { credentialFile, type CredentialFile } from '../support/client-keys.ts';
import { fakeDate } from '../support/clock.ts';
import { closeNow, listen, trackSockets } from '../support/listener.ts';
import { createCertificate, makeCertificate, type TestCertificate } from '../support/tls.ts';
import { signIn, startWorld } from '../support/world.ts';

interface Seen {
  readonly path: string | undefined;
  /** Of the certificate that the connection shows; undefined without one. */
  readonly thumbprint: string | undefined;
}

interface MutualApi {
  readonly url: string;
  readonly caFile: string;
  readonly seen: Seen[];
}

/** `x5t#S256` (RFC 8705 3.1). */
function thumbprintOf({ raw }: Pick<X509Certificate, 'raw'>): string {
  return Buffer.from(new X509Certificate(raw).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
}

/** A resource server that wants the certificate to which the token is bound (RFC 8705 3). */
async function startMutualApi(): Promise<MutualApi> {
  const own = await makeCertificate();
  const seen: Seen[] = [];
  const options = { key: own.key, cert: own.cert, requestCert: true, rejectUnauthorized: false };
  const server = createServer(options, (request, response) => {
    const certificate = (request.socket as TLSSocket).getPeerX509Certificate();
    const thumbprint = certificate === undefined ? undefined : thumbprintOf(certificate);
    seen.push({ path: request.url, thumbprint });
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    const { cnf } = decodeJwt(token) as { cnf?: Record<string, unknown> };
    if (thumbprint !== undefined && cnf?.['x5t#S256'] === thumbprint) response.end('mine');
    else response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('another certificate');
  });
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  onTestFinished(() => closeNow(server, sockets));
  return { url: `https://localhost:${port}`, caFile: own.file, seen };
}

interface Identity extends TestCertificate {
  readonly thumbprint: string;
  readonly certFile: CredentialFile;
  readonly keyFile: CredentialFile;
}

async function makeIdentity(): Promise<Identity> {
  const made = await createCertificate(['client.test']);
  const [certFile, keyFile] = [await credentialFile(made.cert), await credentialFile(made.key)];
  return { ...made, certFile, keyFile, thumbprint: thumbprintOf(new X509Certificate(made.cert)) };
}

function routeTo({ url, caFile }: Pick<MutualApi, 'url' | 'caFile'>, { certFile, keyFile }: Identity, path = '/api') {
  return { path, target: url, caFile, certFile: certFile.path, keyFile: keyFile.path };
}

/** Somebody signed in, with tokens that are bound to this certificate. */
async function startBoundTo({ thumbprint }: Identity, routes: NonNullable<ConfigInput['api']>) {
  const settings = { boundCertificate: thumbprint };
  const world = await startWorld({ provider: { settings }, config: (base) => ({ ...base, api: routes }) });
  const browser = world.client();
  await signIn(browser);
  return { ...world, browser };
}

test('a call shows the certificate of its route, and those of other routes to the same API show theirs or none', async () => {
  const api = await startMutualApi();
  const [one, other] = [await makeIdentity(), await makeIdentity()];
  const { target, caFile } = routeTo(api, one);
  const routes = [routeTo(api, one), routeTo(api, other, '/other'), { path: '/bare', target, caFile }];
  const { browser } = await startBoundTo(one, routes);
  expect((await browser.fetch('/api/x')).text).toBe('mine');
  expect((await browser.fetch('/bare/x')).status).toBe(401);
  expect((await browser.fetch('/other/x')).status).toBe(401);
  expect((await browser.fetch('/api/x')).text).toBe('mine');
  const shown = new Map(api.seen.map(({ thumbprint }, index) => [index, thumbprint]));
  expect(shown.get(0)).toBe(one.thumbprint);
  expect([...shown.values()].filter((thumbprint) => thumbprint === undefined).length).toBeGreaterThan(0);
  expect(new Set(shown.values())).toEqual(new Set([one.thumbprint, undefined, other.thumbprint]));
  expect(shown.get(shown.size - 1)).toBe(one.thumbprint);
});

test('a new certificate is shown without a restart, and no connection shows the old one any more', async () => {
  fakeDate();
  const api = await startMutualApi();
  const [before, after] = [await makeIdentity(), await makeIdentity()];
  const { browser, provider, logs } = await startBoundTo(before, [routeTo(api, before)]);
  /** Later than the files were last read. */
  const call = () => {
    vi.advanceTimersByTime(1000);
    return browser.fetch('/api/x');
  };
  // Several connections, which stay open.
  await Promise.all(Array.from({ length: 5 }, () => browser.fetch('/api/x')));
  expect(new Set(api.seen.map(({ thumbprint }) => thumbprint))).toEqual(new Set([before.thumbprint]));

  await before.keyFile.replace(after.key);
  // Half renewed: what was read before stays in use.
  await expect
    .poll(async () => [(await call()).text, logs.join('').includes('credentials.unusable')])
    .toEqual(['mine', true]);
  await before.certFile.replace(after.cert);
  provider.settings.boundCertificate = after.thumbprint;
  await browser.fetch('/bff/refresh', { method: 'POST' });
  await expect.poll(async () => (await call()).status).toBe(200);
  expect(logs.join('')).toContain('credentials.renewed');

  const calls = api.seen.length;
  const answers = await Promise.all(Array.from({ length: 5 }, () => browser.fetch('/api/after')));
  expect(answers.map(({ text }) => text)).toEqual(Array.from({ length: 5 }, () => 'mine'));
  expect(new Set(api.seen.slice(calls).map(({ thumbprint }) => thumbprint))).toEqual(new Set([after.thumbprint]));
});

test('an API that takes no such certificate is answered with 502, and nothing of the key is in the log', async () => {
  const [identity, own] = [await makeIdentity(), await makeCertificate()];
  const server = createServer({ key: own.key, cert: own.cert, requestCert: true, rejectUnauthorized: true });
  server.on('tlsClientError', () => undefined);
  const sockets = trackSockets(server);
  const url = `https://localhost:${await listen(server, 0)}`;
  onTestFinished(() => closeNow(server, sockets));
  const { browser, logs } = await startBoundTo(identity, [routeTo({ url, caFile: own.file }, identity)]);
  expect((await browser.fetch('/api/x')).json()).toMatchObject({ status: 502, code: 'upstream_unavailable' });
  expect(logs.join('')).not.toContain(identity.key.split('\n')[1] ?? identity.key);
});

test('a certificate that cannot be shown is refused at the start', async () => {
  const [identity, other] = [await makeIdentity(), await makeIdentity()];
  const [certFile, keyFile] = [identity.certFile.path, identity.keyFile.path];
  const target = 'https://localhost';
  const refusals: [route: object, fault: RegExp][] = [
    [{ target, certFile }, /api\.0\.keyFile: is missing/],
    [{ target, keyFile }, /api\.0\.keyFile: is the key of a certificate/],
    [{ target: 'http://localhost', certFile, keyFile }, /api\.0\.certFile: is for an https: target/],
    [{ target, certFile, keyFile: other.keyFile.path }, /api\.0\.certFile: .* another key/],
    [{ target, certFile: '/nowhere', keyFile }, /api\.0\.certFile: the file "\/nowhere" cannot be read/],
  ];
  for (const [route, fault] of refusals) expect(() => resolveConfig(configWith(route))).toThrow(fault);
  expect(() => resolveConfig(configWith({ target, certFile, keyFile }))).not.toThrow();
});

function configWith(route: object): ConfigInput {
  return {
    origin: 'http://localhost:3000',
    issuer: 'https://login.example.com',
    client: { id: 'app', secret: 'not much of one' },
    secrets: ['a sealing secret of more than 32 characters'],
    api: [{ path: '/api', target: '', ...route }],
  };
}
