/** `sallyport/vite`: Sallyport inside Vite's own server, over real HTTP. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { build, type Plugin, type ViteDevServer } from 'vite';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import type { ConfigInput } from '../../src/config/config.ts';
import { sallyport } from '../../src/vite/plugin.ts';
import { BrowserClient } from '../support/browser-client.ts';
import { accepts, freePort, startListener } from '../support/listener.ts';
import { makeCertificate } from '../support/tls.ts';
import { portOf, viteApp, type ViteApp } from '../support/vite-app.ts';
import { acceptWebSockets, beginSocket, closeOf, openSocket, tokenOf } from '../support/web-socket.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const patient = { timeout: 10_000 };

/** A provider and an API, and the origin that they know, at which nothing listens yet. */
async function worldWithoutServer(): Promise<World & { readonly own: ConfigInput }> {
  const world = await startWorld();
  await world.server.close({ waitSeconds: 0, drainSeconds: 0 });
  return Object.assign(world, { own: world.config });
}

function browserAt(port: number): BrowserClient {
  const browser = new BrowserClient({ origin: `http://localhost:${port}` });
  browser.routeTo(port, browser.origin);
  onTestFinished(() => browser.close());
  return browser;
}

/** The demo's provider, by way of Sallyport. */
async function issuerOf(browser: BrowserClient): Promise<URL> {
  const { headers } = await browser.navigate('/bff/login', { follow: false });
  return new URL(headers.location ?? '');
}

describe('in the dev server', () => {
  test('a person signs in, calls the API and signs out, at Vite’s own address', async () => {
    const { own, client, api } = await worldWithoutServer();
    const app = await viteApp();
    const vite = await app.start({ config: own });
    expect(`http://localhost:${portOf(vite)}`).toBe(own.origin);

    const alice = client();
    expect((await alice.navigate('/')).text).toContain('/@vite/client');
    expect((await alice.fetch('/bff/session')).json()).toMatchObject({ authenticated: false });
    expect((await signIn(alice)).text).toContain('/@vite/client');
    expect((await alice.fetch('/api/orders', { method: 'POST', body: { n: 1 } })).status).toBe(200);
    expect(api.last().claims?.sub).toBe('alice');
    expect((await alice.fetch('/main.js')).text).toContain('here');
    expect((await alice.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect((await alice.fetch('/api/orders')).status).toBe(401);
    expect(app.lines.join('\n')).toContain('login.succeeded');

    const connections = promisify(api.server.getConnections.bind(api.server));
    expect(await connections()).toBeGreaterThan(0);
    await vite.close();
    await expect.poll(() => connections(), { timeout: 2000 }).toBe(0);
  });

  test('a WebSocket reaches the API with the token, and another one Vite’s own proxy', async () => {
    const world = await worldWithoutServer();
    const sockets = acceptWebSockets(world.api);
    const others = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    onTestFinished(async () => {
      others.close();
      await once(others, 'close');
    });
    others.on('connection', (socket) => socket.close(4000, 'through the proxy'));
    await once(others, 'listening');
    const { port } = others.address() as AddressInfo;
    const app = await viteApp();
    const proxy = { '/other': { target: `ws://127.0.0.1:${port}`, ws: true } };
    await app.start({ config: world.own }, { server: { proxy } });

    const alice = world.client();
    await signIn(alice);
    const { socket } = await openSocket(world, alice);
    socket.close();
    expect(tokenOf((await sockets.accepted()).request)).toMatch(/\w/);
    expect((await closeOf(beginSocket(world, alice, { path: '/other' }))).code).toBe(4000);
  });

  test('Vite’s own proxy has the paths that are not Sallyport’s', async () => {
    const { own, client } = await worldWithoutServer();
    const other = await startListener((call, answer) => void answer.end(`other ${call.url}`));
    onTestFinished(other.close);
    const app = await viteApp();
    await app.start({ config: own }, { server: { proxy: { '/legacy': `http://127.0.0.1:${other.port}` } } });
    expect((await client().fetch('/legacy/x')).text).toBe('other /legacy/x');
  });

  test('cookies of 20 kB fit', async () => {
    const { own, client } = await worldWithoutServer();
    const app = await viteApp();
    await app.start({ config: own });
    const cookie = `x=${'y'.repeat(20_000)}`;
    expect((await client().fetch('/bff/session', { headers: { cookie } })).status).toBe(200);
    expect((await client().fetch('/bff/session', { headers: { cookie: cookie.repeat(2) } })).status).toBe(431);
  });

  test('why a sign-in fails is in Vite’s terminal', async () => {
    const { own, client, provider } = await worldWithoutServer();
    const app = await viteApp();
    await app.start({ config: { ...own, logLevel: 'warn' } });
    provider.fail('code', { status: 401, body: { error: 'invalid_client' } });
    await client().navigate('/bff/login?login_hint=alice');
    await expect.poll(() => app.lines.join('\n'), patient).toContain('invalid_client');
  });

  test('over https it speaks HTTP/1.1 with a browser that offers HTTP/2', async () => {
    const certificate = await makeCertificate();
    const { own } = await worldWithoutServer();
    const { origin: _, ...config } = own;
    const app = await viteApp();
    const https = { key: certificate.key, cert: certificate.cert };
    const vite = await app.start({ config }, { server: { https, port: await freePort(), strictPort: true } });
    const socket = connect({
      port: portOf(vite),
      host: '127.0.0.1',
      servername: 'localhost',
      ca: certificate.cert,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    const { host } = new URL(`https://localhost:${portOf(vite)}`);
    socket.write(`GET /bff/login HTTP/1.1\r\nhost: ${host}\r\nsec-fetch-mode: navigate\r\nconnection: close\r\n\r\n`);
    const answer = await text(socket);
    expect(socket.alpnProtocol).toBe('http/1.1');
    expect(answer).toContain(`redirect_uri=${encodeURIComponent(`https://${host}/bff/callback`)}`);
  });
});

describe('the demo', () => {
  test('signs in at a provider of its own, and has an API', async () => {
    const app = await viteApp();
    const vite = await app.start({ demo: true }, { server: { port: await freePort() } });
    const alice = browserAt(portOf(vite));
    const issuer = await issuerOf(alice);
    expect(issuer.hostname).toBe('127.0.0.1');
    await signInAtDemo(alice);
    const note = await alice.fetch('/api/notes', { method: 'POST', body: { text: 'oil the hinges' } });
    expect([note.status, note.json()]).toEqual([201, expect.objectContaining({ text: 'oil the hinges' })]);
    expect(app.lines.join('\n')).toContain(`Sallyport: http://localhost:${portOf(vite)}, sign in as alice / alice`);

    await vite.close();
    await expect.poll(() => accepts(Number(issuer.port)), patient).toBe(false);
  });

  test('follows the port that Vite gets where the usual one is taken', async () => {
    const usual = await startListener((_, answer) => void answer.end('another program'));
    onTestFinished(usual.close);
    const app = await viteApp();
    const vite = await app.start({ demo: true }, { server: { port: usual.port } });
    expect(portOf(vite)).not.toBe(usual.port);
    const alice = browserAt(portOf(vite));
    await signInAtDemo(alice);
    expect((await alice.fetch('/api/notes')).status).toBe(200);
  });

  test('keeps what arrives before it runs', async () => {
    const app = await viteApp();
    const port = await freePort();
    const early: Promise<unknown>[] = [];
    const callAtOnce = {
      name: 'call-at-once',
      configureServer({ httpServer }: { httpServer: NodeJS.EventEmitter | null }) {
        httpServer?.once('listening', () => early.push(browserAt(port).fetch('/bff/session')));
      },
    };
    await app.start({ demo: true }, { server: { port, strictPort: true }, plugins: [callAtOnce] });
    expect(await Promise.all(early)).toEqual([expect.objectContaining({ status: 200 })]);
    expect(early).toHaveLength(1);
  });

  test('leaves the configured provider alone, and takes the configured APIs', async () => {
    const { own, api } = await worldWithoutServer();
    const app = await viteApp({ 'index.html': '<!doctype html>' });
    const port = await freePort();
    const options = { demo: true, config: { ...own, discoveryUrl: 'http://127.0.0.1:1' } };
    const vite = await app.start(options, { server: { port } });
    const alice = browserAt(portOf(vite));
    await signInAtDemo(alice);
    expect((await alice.fetch('/api/orders')).status).toBe(200);
    expect(api.last().headers['authorization']).toMatch(/^Bearer ./);
  });
});

/** Through the sign-in page of the demo's provider. */
async function signInAtDemo(browser: BrowserClient): Promise<void> {
  const form = await browser.navigate('/bff/login');
  const { origin } = new URL(form.url);
  const [, action = ''] = /action="([^"]+)"/.exec(form.text) ?? [];
  await browser.navigate(new URL(action, origin).href, {
    initiator: origin,
    method: 'POST',
    form: { username: 'alice', password: 'alice', choice: 'sign-in' },
  });
  expect((await browser.fetch('/bff/session')).json()).toMatchObject({ user: { name: 'Alice Archer' } });
}

describe('the configuration', () => {
  test('comes from the file and .env beside it; Vite restarts with it when the file changes', async () => {
    const { own, client } = await worldWithoutServer();
    const { origin, issuer, client: known, api, secrets } = own;
    const file = (extra: object) =>
      `export default ${JSON.stringify({ origin, issuer, client: { id: known.id }, api, ...extra })};`;
    const app = await viteApp();
    await app.write('.env', `SALLYPORT_SECRET=${secrets[0]}\nSALLYPORT_CLIENT_SECRET=${known.secret}\n`);
    await app.write('sallyport.config.ts', file({}));
    const vite = await app.start();
    const alice = client();
    await signIn(alice);
    const before = vite.httpServer;

    await app.write('sallyport.config.ts', file({ session: { lifetimeSeconds: 777 } }));
    await expect.poll(() => app.lines.join('\n'), patient).toContain('server restarted');
    expect(vite.httpServer).not.toBe(before);
    expect(before?.listening).toBe(false);
    const session = await alice.fetch('/bff/session');
    expect([session.at('user.sub'), session.at('session.expiresInSeconds')]).toEqual([
      'alice',
      expect.toBeOneOf([775, 776, 777]),
    ]);
    expect((await alice.fetch('/api/orders')).status).toBe(200);
  });

  test.each([
    ['after it is read', 'sallyport.config.json', 1, 'read'],
    ['after .env is read', '.env', 1, 'read'],
    ['after a restart reads it', 'sallyport.config.json', 2, 'read'],
    ['when Vite listens and does not watch yet', 'sallyport.config.json', 1, 'listening'],
  ] as const)('that is edited right %s counts', async (_story, file, editedIn, moment) => {
    const { own, client } = await worldWithoutServer();
    const given = { ...own, spa: undefined };
    const app = await viteApp();
    await app.write('sallyport.config.json', JSON.stringify(given));
    const edit = () =>
      app.write(
        file,
        file === '.env'
          ? 'SALLYPORT_SESSION_LIFETIME=777'
          : JSON.stringify({ ...given, session: { lifetimeSeconds: 777 } }),
      );

    let starts = 0;
    let vite: ViteDevServer | undefined;
    let whenWatching: Function[] = [];
    const editor: Plugin = {
      name: 'edit-unwatched',
      async configResolved() {
        starts += 1;
        if (starts !== editedIn || moment !== 'read') return;
        // As when the watcher of before a restart goes while the next one comes.
        await vite?.watcher.close();
        await edit();
      },
      configureServer({ watcher }) {
        if (starts !== editedIn) return;
        whenWatching = watcher.listeners('ready');
        watcher.removeAllListeners('ready');
        watcher.unwatch(join(app.folder, file));
      },
    };
    vite = await app.start({}, { plugins: [editor] });
    if (editedIn === 2) await vite.restart();
    if (moment === 'listening') {
      await edit();
      for (const listener of whenWatching) listener.call(vite.watcher);
    }

    const restarts = () => app.lines.filter((line) => line.includes('server restarted')).length;
    await expect.poll(restarts, patient).toBe(editedIn);
    const alice = client();
    await signIn(alice);
    const session = await alice.fetch('/bff/session');
    expect(session.at('session.expiresInSeconds')).toBeOneOf([775, 776, 777]);
    expect(starts).toBe(editedIn + 1);
  });

  test('that is broken leaves the server that runs as it is', async () => {
    const { own, client } = await worldWithoutServer();
    const app = await viteApp();
    await app.write('sallyport.config.json', JSON.stringify({ ...own, spa: undefined }));
    await app.start();
    await app.write('sallyport.config.json', JSON.stringify({ ...own, spa: undefined, isuer: 1 }));
    await expect.poll(() => app.lines.join('\n'), patient).toContain('server restart failed');
    expect(app.lines.join('\n')).toContain('isuer');
    const alice = client();
    await signIn(alice);
    expect((await alice.fetch('/api/orders')).status).toBe(200);
  });

  test('restarting again and again leaves nothing behind', async () => {
    const app = await viteApp();
    const vite = await app.start({ demo: true }, { server: { port: await freePort(), strictPort: true } });
    const left: URL[] = [];
    for (let count = 0; count < 3; count += 1) {
      left.push(await issuerOf(browserAt(portOf(vite))));
      await vite.restart();
    }
    await signInAtDemo(browserAt(portOf(vite)));
    const { port } = await issuerOf(browserAt(portOf(vite)));
    for (const old of left.filter((each) => each.port !== port)) {
      await expect.poll(() => accepts(Number(old.port)), patient).toBe(false);
    }
    await vite.close();
    await expect.poll(() => accepts(Number(port)), patient).toBe(false);
  });

  test('is told to be wrong with all its faults, before Vite listens', async () => {
    const app = await viteApp();
    const starting = app.start({ config: { basePath: 'bff' } });
    await expect(starting).rejects.toThrow(/issuer[^]*client[^]*basePath|basePath[^]*issuer/);
  });

  test.each([
    ['with another port than Vite’s', 'http://localhost:5999', { port: 5998 }, /port 5998.*http:\/\/localhost:5999/],
    ['with another protocol than Vite’s', 'https://localhost:5999', {}, /listens on http:.*https:\/\/localhost:5999/],
  ])('%s is refused', async (_story, origin, server, told) => {
    const { own } = await worldWithoutServer();
    const app = await viteApp();
    await expect(app.start({ config: { ...own, origin } }, { server })).rejects.toThrow(told);
  });

  test('with a port that is taken ends the start: its provider knows no other callback', async () => {
    const { own } = await worldWithoutServer();
    const usual = await startListener((_, answer) => void answer.end());
    onTestFinished(usual.close);
    const app = await viteApp();
    const starting = app.start({ config: { ...own, origin: `http://localhost:${usual.port}` } });
    await expect(starting).rejects.toThrow(`Port ${usual.port} is already in use`);
  });

  test('may have the origin of a proxy in front of Vite', async () => {
    const { own } = await worldWithoutServer();
    const app = await viteApp();
    const vite = await app.start(
      { config: { ...own, origin: 'https://dev.example.test' } },
      { server: { port: await freePort() } },
    );
    const { searchParams } = await issuerOf(browserAt(portOf(vite)));
    expect(searchParams.get('redirect_uri')).toBe('https://dev.example.test/bff/callback');
  });
});

test('vite preview serves the build behind it', async () => {
  const { own, client } = await worldWithoutServer();
  const app = await viteApp();
  await build(quiet(app));
  const vite = await app.preview({ config: own });
  const alice = client();
  expect((await signIn(alice)).text).toMatch(/assets\/index-[\w-]+\.js/);
  expect((await alice.fetch('/api/orders')).status).toBe(200);
  await vite.close();
  expect(await accepts(portFrom(own.origin))).toBe(false);
});

function portFrom(origin: string): number {
  return Number(new URL(origin).port);
}

test.each([
  ['a build', async (app: ViteApp) => void (await build({ ...quiet(app), plugins: [sallyport()] }))],
  ['Vitest', async (app: ViteApp) => void (await (vi.stubEnv('VITEST', 'true'), app.start({}, anyPort)))],
  ['middleware mode', async (app: ViteApp) => void (await app.start({}, { server: { middlewareMode: true } }))],
])('%s goes without it, whatever the configuration', async (story, run) => {
  const app = await viteApp();
  await run(app);
  expect(app.lines.some((line) => line.includes('no part in middleware mode'))).toBe(story === 'middleware mode');
});

const anyPort = { server: { port: 0 } };

function quiet({ folder }: ViteApp) {
  return { root: folder, configFile: false, logLevel: 'silent' } as const;
}
