/**
 * A while of everything at once: calls, uploads, streams, WebSockets, pipelines, refreshes every few seconds, a fifth of the
 * calls broken off, and an API and a provider that fail, restart and come back. Afterwards the server is the same process
 * and holds what it held before: no memory, socket, timer or listener more.
 *
 * `SOAK_SECONDS=600 npm test -- journeys/soak` runs it for longer; by default it is short enough for every run.
 */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { assaultWith, commit, createRandom, type Random } from '../support/assault.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { startMeasured } from '../support/separate-server.ts';
import { large, startWhimsicalApi } from '../support/whimsical-api.ts';
import { callHead } from '../support/wire.ts';
import { outcomeOf, signIn, startWorld, within } from '../support/world.ts';

const seconds = Number(process.env['SOAK_SECONDS'] ?? 8);
/** Long enough for code to be compiled, pools and caches to fill. */
const warmUpSeconds = Math.min(seconds, 5);
const people = 4;
const workersEach = 4;
const mebibyte = 1024 * 1024;
/** The access token's lifetime; a refresh is due after half of it. */
const tokenSeconds = 4;
/** How long a restart takes, and how often there is one: of the API and of the provider in turn. */
const restartMs = 300;
const restartEverySeconds = Math.max(3, Math.min(15, seconds / 4));
/** Of a cookie of an earlier generation, kept for calls that still carry it: 64 MiB of them at most. */
const cookieBytes = 16 * 1024;

test(
  'after a while under mixed load the same process holds what it held before',
  async () => {
    const api = await startWhimsicalApi();
    onTestFinished(() => api.close());
    // A restart loses answers; where tokens rotate, a lost refresh ends the session, which is no fault here.
    const world = await startWorld({ provider: { settings: { rotateRefreshTokens: false } } });
    await world.server.close();
    const route = { path: '/api', target: `http://127.0.0.1:${api.port}`, timeoutSeconds: 5, maxBodyBytes: mebibyte };
    const server = await startMeasured({ ...world.config, logLevel: 'info', api: [route] });
    world.provider.mutate('token', (json) => ({ ...json, expires_in: tokenSeconds }));
    world.provider.server.keepAliveTimeout = 4000;
    const browsers = Array.from({ length: people }, () => world.client());
    for (const browser of browsers) await signIn(browser);
    const field: Field = { browsers, port: server.port, disturbed: false, isLost: () => server.death !== undefined };
    const restarts = [restartOf(api.close, api.reopen), restartOf(world.provider.down, world.provider.up)];
    const quiet = () => {
      for (const browser of browsers) browser.close();
      return server.gaugesWhenQuiet([api.server, world.provider.server]);
    };

    const warmUp = await load(field, warmUpSeconds);
    const before = await quiet();
    const refreshesBefore = world.provider.calls.refresh;
    const [loaded, outages] = await Promise.all([load(field, seconds), disturb(field, restarts, seconds)]);
    expect(server.death).toBeUndefined();
    const after = await quiet();

    // The load was what it says, and every kind of call came to the end that it should.
    expect(Object.keys(loaded.counts).toSorted((a, b) => a.localeCompare(b))).toEqual(
      Object.keys(calls).toSorted((a, b) => a.localeCompare(b)),
    );
    expect(loaded.aborted / loaded.total).toBeGreaterThan(0.2);
    expect(outages).toBeGreaterThan(1);
    const refreshes = world.provider.calls.refresh - refreshesBefore;
    expect(refreshes).toBeGreaterThan((people * seconds) / tokenSeconds / 2);
    expect({ ...warmUp.surprises, ...loaded.surprises }).toEqual({});

    expect(after.heap - before.heap).toBeLessThan(2 * mebibyte + refreshes * cookieBytes);
    expect(after.buffers - before.buffers).toBeLessThan(mebibyte);
    expect({ warnings: after.warnings, faults: after.faults }).toEqual({ warnings: [], faults: [] });
    expect(after.resources).toEqual(before.resources);
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
    expect(server.death).toBeUndefined();
  },
  (seconds + 90) * 1000,
);

interface Field {
  readonly browsers: readonly BrowserClient[];
  readonly port: number;
  /** The API or the provider is being restarted, or was and isn't all there again. */
  disturbed: boolean;
  /** The process has ended: nothing more is to be learnt. */
  readonly isLost: () => boolean;
}

type Restart = () => Promise<void>;

function restartOf(down: () => Promise<void>, up: () => Promise<void>): Restart {
  return async () => {
    await down();
    await sleep(restartMs);
    await up();
  };
}

/** Restarts one after the other, over and over. @returns how often */
async function disturb(field: Field, restarts: readonly Restart[], forSeconds: number): Promise<number> {
  const endsAt = performance.now() + (forSeconds - restartEverySeconds / 2) * 1000;
  let outages = 0;
  for (; performance.now() < endsAt && !field.isLost(); outages += 1) {
    await sleep(restartEverySeconds * 500);
    field.disturbed = true;
    await restarts[outages % restarts.length]?.();
    // Whoever waits for a token meanwhile waits as long as Sallyport spares the provider.
    await vi.waitFor(
      async () => {
        for (const browser of field.browsers) {
          const outcome = await outcomeOf(browser.fetch('/api/small'));
          if (outcome !== 200 && !field.isLost()) throw new Error(`not served again after a restart: ${outcome}`);
        }
      },
      { timeout: 40_000, interval: 100 },
    );
    await sleep(restartEverySeconds * 100);
    field.disturbed = false;
    await sleep(restartEverySeconds * 400);
  }
  return outages;
}

interface Visit {
  readonly browser: BrowserClient;
  readonly port: number;
  readonly agent: Agent;
  readonly random: Random;
}

interface Call {
  readonly run: (visit: Visit) => Promise<string>;
  readonly expected: readonly string[];
  /** Leaves before it has its answer. */
  readonly leaves?: true;
}

/** Each kind of call, and what becomes of it. */
const calls: Readonly<Record<string, Call>> = {
  small: { run: (visit) => send(visit, 'GET', '/api/small'), expected: ['200 small'] },
  chunks: { run: (visit) => send(visit, 'GET', '/api/chunks'), expected: ['200 some, more'] },
  hints: { run: (visit) => send(visit, 'GET', '/api/hints'), expected: ['200 hinted'] },
  head: { run: (visit) => send(visit, 'HEAD', '/api/small'), expected: ['200 '] },
  large: { run: (visit) => send(visit, 'GET', '/api/large'), expected: [`200 ${large.length} bytes`] },
  post: { run: (visit) => send(visit, 'POST', '/api/sink', Buffer.alloc(10_000)), expected: ['200 taken'] },
  upload: { run: (visit) => send(visit, 'PUT', '/api/sink', large), expected: ['200 taken'] },
  tooLarge: { run: (visit) => send(visit, 'PUT', '/api/sink', Buffer.alloc(mebibyte + 1)), expected: ['413 problem'] },
  early: { run: (visit) => send(visit, 'PUT', '/api/early', large), expected: ['422 seen enough'] },
  reset: { run: (visit) => send(visit, 'POST', '/api/reset', Buffer.alloc(10)), expected: ['502 problem'] },
  broken: { run: (visit) => send(visit, 'GET', '/api/broken'), expected: ['aborted'] },
  abandoned: { run: (visit) => abandon(visit, 'GET', '/api/never'), expected: ['left'], leaves: true },
  leftStream: { run: (visit) => abandon(visit, 'GET', '/api/events'), expected: ['left'], leaves: true },
  leftUpload: { run: (visit) => abandon(visit, 'PUT', '/api/sink', large), expected: ['left'], leaves: true },
  brokenCall: { run: (visit) => breakOff(visit, headOf(visit, 'GET', '/api/large')), expected: ['left'], leaves: true },
  brokenUpload: { run: (visit) => breakOff(visit, uploadOf(visit)), expected: ['left'], leaves: true },
  brokenUpgrade: { run: (visit) => breakOff(visit, upgradeOf(visit)), expected: ['left'], leaves: true },
  brokenPipeline: { run: (visit) => breakOff(visit, pipelineOf(visit)), expected: ['left'], leaves: true },
  brokenRefusal: { run: (visit) => breakOff(visit, ambiguousOf(visit)), expected: ['left'], leaves: true },
  webSocket: { run: echo, expected: ['echo'] },
  pipeline: { run: (visit) => statusesOf(visit, pipelineOf(visit)), expected: ['200, 200, 200'] },
  pipelinedUpgrade: {
    run: (visit) => statusesOf(visit, headOf(visit, 'GET', '/api/small') + upgradeOf(visit)),
    expected: ['200, 200'],
  },
  ambiguous: { run: (visit) => statusesOf(visit, ambiguousOf(visit)), expected: ['400'] },
  refused: { run: (visit) => send(visit, 'GET', '/api/../x'), expected: ['400 problem'] },
  forged: { run: (visit) => send(visit, 'GET', '/api/small', undefined, 'cross-site'), expected: ['403 problem'] },
  session: { run: async ({ browser }) => String((await browser.fetch('/bff/session')).status), expected: ['200'] },
  page: { run: async ({ browser }) => String((await browser.navigate('/')).status), expected: ['200'] },
  // The cookie of before a refresh goes on working; refreshes that come too soon pass the 401 on.
  refusal: {
    run: async ({ browser }) => String((await browser.fetch('/api/refusal')).status),
    expected: ['200', '401'],
  },
};

/** What becomes of some calls while an API or the provider is away. */
const unavailable = /^(?:50[234](?: problem)?|(?:20[01]|50[234])(?:, (?:200|50[234]))*|aborted|failed)$/;

async function load(field: Field, forSeconds: number) {
  const agent = new Agent({ keepAlive: true });
  const kinds = Object.entries(calls);
  const counts: Record<string, number> = {};
  const surprises: Record<string, string> = {};
  const endsAt = performance.now() + forSeconds * 1000;
  let [total, aborted] = [0, 0];
  await Promise.all(
    Array.from({ length: people * workersEach }, async (_, index) => {
      const random = createRandom(index);
      const browser = field.browsers[index % people] as BrowserClient;
      while (performance.now() < endsAt && !field.isLost()) {
        const [kind, { run, expected, leaves }] = kinds[total++ % kinds.length] ?? nothing;
        const { disturbed } = field;
        const outcome = await within(
          20,
          run({ browser, port: field.port, agent, random }).catch(failed),
          `${kind} hangs`,
        );
        counts[kind] = (counts[kind] ?? 0) + 1;
        if (leaves === true) aborted += 1;
        const isExcused = (disturbed || field.disturbed) && unavailable.test(outcome);
        if (!expected.includes(outcome) && !isExcused) surprises[kind] = outcome;
      }
    }),
  );
  agent.destroy();
  return { counts, surprises, total, aborted };
}

const nothing: [string, Call] = ['none', { run: () => Promise.reject(new Error('no such call')), expected: [] }];

function failed(): string {
  return 'failed';
}

function start({ browser, port, agent }: Visit, method: string, path: string, site = 'same-origin') {
  const headers = { host: new URL(browser.origin).host, cookie: browser.cookieHeader() ?? '', 'sec-fetch-site': site };
  return httpRequest({ host: '127.0.0.1', port, agent, method, path, headers });
}

function send(visit: Visit, method: string, path: string, body?: Buffer, site?: string): Promise<string> {
  return new Promise((resolve) => {
    const request = start(visit, method, path, site);
    request.once('error', () => resolve('aborted'));
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', () => resolve('aborted'));
      response.once('end', () => resolve(`${response.statusCode} ${summaryOf(response, Buffer.concat(chunks))}`));
    });
    request.end(body);
  });
}

function summaryOf({ headers }: IncomingMessage, body: Buffer): string {
  if (headers['content-type'] === 'application/problem+json') return 'problem';
  return body.length > 1000 ? `${body.length} bytes` : body.toString();
}

/** Leaves when the answer has begun, or after a moment. */
function abandon(visit: Visit, method: string, path: string, body?: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const request = start(visit, method, path);
    const leave = () => {
      request.destroy();
      resolve('left');
    };
    request.once('error', leave);
    request.once('response', (response) => response.on('error', leave).once('data', leave));
    if (body !== undefined) request.write(body.subarray(0, body.length / 2));
    else request.end();
    setTimeout(leave, 20);
  });
}

/** Leaves anywhere, in any way. */
async function breakOff({ port, random }: Visit, request: string): Promise<string> {
  await commit(port, assaultWith(random, Buffer.from(request, 'latin1')));
  return 'left';
}

async function statusesOf({ port }: Visit, request: string): Promise<string> {
  return rawStatuses(await rawRequest(port, request, 5000)).join(', ');
}

function headOf({ browser }: Visit, method: string, path: string, lines = ''): string {
  return `${callHead(browser, method, path)}${lines}\r\n`;
}

function uploadOf(visit: Visit): string {
  return headOf(visit, 'POST', '/api/sink', 'Content-Length: 100000\r\n') + 'x'.repeat(100_000);
}

/** The last word is the client's, so that behind other calls, where it is none, it is answered like them. */
function upgradeOf(visit: Visit): string {
  const upgrading = 'Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n';
  const lines = `Origin: ${visit.browser.origin}\r\n${upgrading}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;
  return headOf(visit, 'GET', '/api/small', lines);
}

function ambiguousOf(visit: Visit): string {
  return upgradeOf(visit).replace('Host: ', 'Host: elsewhere\r\nHost: ');
}

function pipelineOf(visit: Visit): string {
  const closing = 'Connection: close\r\nContent-Length: 5\r\n';
  const first = headOf(visit, 'GET', '/api/small') + headOf(visit, 'GET', '/api/chunks');
  return `${first}${headOf(visit, 'POST', '/api/sink', closing)}hello`;
}

function echo({ browser, port }: Visit): Promise<string> {
  const headers = { cookie: browser.cookieHeader() ?? '', host: new URL(browser.origin).host };
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/socket`, { origin: browser.origin, headers });
  let outcome = 'failed';
  socket.on('open', () => socket.send('echo'));
  socket.on('message', (data: Buffer) => {
    outcome = data.toString();
    socket.close();
  });
  socket.on('error', () => socket.terminate());
  return new Promise((resolve) => {
    socket.once('close', () => resolve(outcome));
  });
}
