/**
 * Real Socket.IO over two replicas behind a load balancer with affinity, polling as it does where WebSockets don't pass.
 * The client runs in Chromium, from the app that Sallyport serves.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startBalancer } from '../support/affinity-balancer.ts';
import { launchChromium } from '../support/chromium.ts';
import { listen } from '../support/listener.ts';
import { startWorld } from '../support/world.ts';
import { openWatchedPage } from './watched-page.ts';

/** As far as it is used here; `npm run typecheck` works without the package. */
interface SocketServer {
  on: (event: 'connection', listener: (socket: Socket) => void) => void;
  close: () => Promise<void>;
}
interface Socket {
  readonly handshake: { readonly headers: { readonly authorization?: string; readonly cookie?: string } };
  on: (event: 'say', listener: (text: string, answer: (text: string) => void) => void) => void;
}

let browser: Browser;
let client: string;

beforeAll(async () => {
  client = await readFile(join(import.meta.dirname, 'node_modules/socket.io-client/dist/socket.io.min.js'), 'utf8');
  browser = await launchChromium();
});

afterAll(() => browser?.close());

/** A replica; it answers with its number and shows what the handshake came with. */
async function startReplica(index: number, handshakes: Socket['handshake'][]): Promise<number> {
  const { Server } = createRequire(import.meta.url)('socket.io') as { Server: new (server: Server) => SocketServer };
  const http = createServer();
  const server = new Server(http);
  server.on('connection', (socket) => {
    handshakes.push(socket.handshake);
    socket.on('say', (text, answer) => answer(`${text} from ${index}`));
  });
  onTestFinished(() => server.close());
  return listen(http, 0);
}

async function connect(cookies: string[]): Promise<{ answers: unknown; handshakes: Socket['handshake'][] }> {
  const handshakes: Socket['handshake'][] = [];
  const balancer = await startBalancer([await startReplica(0, handshakes), await startReplica(1, handshakes)]);
  onTestFinished(() => balancer.close());
  const world = await startWorld({
    spa: { 'index.html': '<!doctype html><title>Chat</title><script src="/client.js"></script>', 'client.js': client },
    config: { api: [{ path: '/api', target: `http://127.0.0.1:${balancer.port}`, cookies }] },
  });
  const { page, complaints } = await openWatchedPage(browser);
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  const answers: unknown = await page.evaluate(`new Promise((resolve) => {
    const socket = io({ path: '/api/socket.io', transports: ['polling'], reconnection: false });
    socket.on('connect', async () => resolve([await socket.emitWithAck('say', 'one'), await socket.emitWithAck('say', 'two')]));
    socket.on('connect_error', (error) => resolve(String(error.description ?? error.message)));
    socket.on('disconnect', (reason) => resolve(reason));
  })`);
  expect(complaints).toEqual([]);
  return { answers, handshakes };
}

test('connects and talks where the route lets the balancer’s cookie pass', async () => {
  const { answers, handshakes } = await connect(['ROUTEID']);
  expect(answers).toEqual(['one from 0', 'two from 0']);
  expect(handshakes).toHaveLength(1);
  expect(handshakes[0]?.headers.authorization).toMatch(/^Bearer /);
});

test('meets another replica where it doesn’t, and never connects', async () => {
  const { answers } = await connect([]);
  expect(answers).toEqual('400');
});
