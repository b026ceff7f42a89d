/** A dev server that isn't running, or that fails, is called by its name and its address, with what to do. */
import { describe, expect, test } from 'vitest';
import { upstreamError } from '../../src/proxy/upstream-errors.ts';
import { freePort, startListener } from '../support/listener.ts';
import { beginSocket, refusalOf, startSocketWorld } from '../support/web-socket.ts';
import { startRawServer } from '../support/raw.ts';
import { startWorld } from '../support/world.ts';

async function nobodysAddress(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}

const told = (address: string) =>
  `The dev server ${address} cannot be reached. Start it, or correct its address (SALLYPORT_SPA, spa.devServer).`;

describe('a dev server that is not running', () => {
  test('is named on the page and in the problem, with its address', async () => {
    const devServer = await nobodysAddress();
    const world = await startWorld({ config: { spa: { devServer } } });
    const page = await world.client().navigate('/');
    expect(page.status).toBe(502);
    expect(page.text).toContain(told(devServer));
    const script = await world.client().fetch('/src/main.ts');
    expect(script.json()).toMatchObject({ code: 'upstream_unavailable', detail: told(devServer) });
    expect(page.text + script.text).not.toContain('The API');
  });

  test('is named where hot module replacement asks for it', async () => {
    const devServer = await nobodysAddress();
    const world = await startSocketWorld({ config: { spa: { devServer } } });
    const refusal = await refusalOf(beginSocket(world, world.browser, { path: '/hmr' }));
    expect(JSON.parse(refusal.body)).toMatchObject({ detail: told(devServer) });
  });

  test('is served as soon as it runs', async () => {
    const port = await freePort();
    const world = await startWorld({ config: { spa: { devServer: `http://127.0.0.1:${port}` } } });
    expect((await world.client().navigate('/')).status).toBe(502);
    const listener = await startListener((_, response) => response.end('the app'), port);
    expect((await world.client().navigate('/')).text).toBe('the app');
    await listener.close();
  });
});

test.each([
  ['closes the connection', '', 'closed the connection before its answer was complete'],
  ['speaks no HTTP', 'SSH-2.0-x\r\n\r\n', 'sent an answer that is not valid HTTP'],
])('one that %s is named as well', async (_story, bytes, reason) => {
  const server = await startRawServer((socket) => void socket.end(bytes));
  const devServer = `http://127.0.0.1:${server.port}`;
  const world = await startWorld({ config: { spa: { devServer } } });
  const answer = await world.client().fetch('/src/main.ts');
  expect(String(answer.at('detail'))).toContain(`The dev server ${devServer} ${reason}`);
});

test.each([
  ['UND_ERR_CONNECT_TIMEOUT', 'X took no connection within 1 seconds.'],
  ['UND_ERR_HEADERS_TIMEOUT', 'X did not begin its answer within 2 seconds.'],
  ['UND_ERR_BODY_TIMEOUT', 'X fell silent for 3 seconds amid its answer.'],
])('%s names no option where there is none', (code, message) => {
  const limits = { connectTimeoutSeconds: 1, timeoutSeconds: 2, idleTimeoutSeconds: 3 };
  const cause = Object.assign(new Error('slow'), { code });
  expect(upstreamError(cause, { ...limits, peer: { name: 'X', remedy: '' } }).message).toBe(message);
  const ofApi = upstreamError(cause, limits).message;
  expect(ofApi.replace(/ \(\w+Seconds\)/, '')).toBe(message.replace('X', 'The API'));
  expect(ofApi).toMatch(/\(\w+Seconds\)/);
});
