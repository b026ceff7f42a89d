import { once } from 'node:events';
import { connect } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { startHttpsSites } from './https-sites.ts';
import { startListener } from './listener.ts';

async function startSites() {
  const sites = await startHttpsSites();
  onTestFinished(() => sites.close());
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(sites.chromiumArguments.join())?.[1]);
  /** A connection to a name, which keeps what it gets. */
  async function open(host: string) {
    const socket = connect({ port, host: '127.0.0.1', servername: host, rejectUnauthorized: false });
    onTestFinished(() => void socket.destroy());
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += bytes.toString()));
    await once(socket, 'secureConnect');
    const ask = (target: string) => socket.write(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nCookie: a=b\r\n\r\n`);
    return { ask, text: () => text };
  }
  return { sites, open };
}

test('each name leads to its own server, and the requests are kept', async () => {
  const { sites, open } = await startSites();
  const server = await startListener((request, response) => response.end(`app ${request.url}`));
  onTestFinished(() => server.close());
  sites.route('app.example.test', server.port);
  await sites.pages('evil.test', { '/': '<title>evil</title>', '/go': 'https://app.example.test/' });
  const [app, evil] = [await open('app.example.test'), await open('evil.test')];
  app.ask('/1');
  await expect.poll(app.text).toContain('app /1');
  evil.ask('/');
  await expect.poll(evil.text).toContain('<title>evil</title>');
  evil.ask('/go');
  await expect.poll(evil.text).toContain('location: https://app.example.test/');
  expect(sites.heads('app.example.test', '/1')).toEqual([expect.stringContaining('\r\nCookie: a=b')]);
  expect(sites.heads('app.example.test', '/')).toEqual([]);
});

test('a held answer waits, all of it, on a connection that served before, and others do not', async () => {
  const { sites, open } = await startSites();
  const server = await startListener((request, response) => response.end(`answer to ${request.url}`));
  onTestFinished(() => server.close());
  sites.route('app.example.test', server.port);
  const [one, other] = [await open('app.example.test'), await open('app.example.test')];
  one.ask('/before');
  await expect.poll(one.text).toContain('answer to /before');
  const gate = sites.holdAnswer('app.example.test', '/held');
  one.ask('/held');
  await gate.arrived;
  const before = one.text();
  other.ask('/other');
  await expect.poll(other.text).toContain('answer to /other');
  expect(one.text()).toBe(before);
  gate.release();
  await expect.poll(one.text).toContain('answer to /held');
  one.ask('/after');
  await expect.poll(one.text).toContain('answer to /after');
});
