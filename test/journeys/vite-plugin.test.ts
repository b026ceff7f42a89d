/** `sallyport/vite`: Sallyport inside Vite's own server, over real HTTP. */
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { connect } from 'node:tls';
import { build, type ViteDevServer } from 'vite';
import { describe, expect, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import type { ConfigInput } from '../../src/config/config.ts';
import { sallyport } from '../../src/vite/plugin.ts';
import { BrowserClient } from '../support/browser-client.ts';
import { accepts, freePort, startListener } from '../support/listener.ts';
import { rawRequest } from '../support/raw.ts';
import { makeCertificate } from '../support/tls.ts';
import { portOf, viteApp } from '../support/vite-app.ts';
import { WebSocketClient } from '../support/web-socket.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const patient = { timeout: 10_000 };

/** A provider and an API, and the origin that they know, at which nothing listens yet. */
async function worldWithoutServer(): Promise<World & { readonly own: ConfigInput }> {
  const world = await startWorld();
  await world.server.close({ waitSeconds: 0, drainSeconds: 0 });
  return Object.assign(world, { own: world.config });
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
  });
});
