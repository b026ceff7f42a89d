/**
 * The attacker's story: "The developer runs Sallyport in front of a dev server on localhost, and visits my page. My
 * name server then says that my name is 127.0.0.1: my page and the developer's machine are now one origin to the browser.
 * No session cookie comes along, but a dev server gives its source to anybody who asks."
 *
 * Must hold: the dev server is asked only for the app's own host name.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startApi, type TestApi } from '../support/api.ts';
import { rawRequest } from '../support/raw.ts';
import { startWorld, type World } from '../support/world.ts';

let devServer: TestApi;
let world: World;

beforeAll(async () => {
  devServer = await startApi();
  devServer.answer({ body: 'const source = "unpublished";' });
  world = await startWorld({ config: { spa: { devServer: devServer.url } } }, { scope: 'manual' });
});

beforeEach(() => {
  devServer.requests.length = 0;
});

afterAll(async () => {
  await world.stop();
  await devServer.close();
});

async function askAs(host: string, ...lines: string[]): Promise<string> {
  const head = ['GET /src/main.ts HTTP/1.1', `Host: ${host}`, ...lines, 'Connection: close'];
  return (await rawRequest(world.server.port, `${head.join('\r\n')}\r\n\r\n`)).toString('latin1');
}

describe('the dev server', () => {
  test.each([
    ['another name', () => 'evil.test'],
    ['another name with the own port', () => `evil.test:${world.server.port}`],
    ['a name that begins like the own one', () => `localhost.evil.test:${world.server.port}`],
    ['the own name with another port', () => 'localhost:1'],
    ['the own name without its port', () => 'localhost'],
  ])('shows nothing to whoever asks for %s', async (_story, host) => {
    for (const lines of [[], ['Accept: text/html', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']]) {
      const answer = await askAs(host(), ...lines);
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
      expect(answer).toContain('request_invalid');
      expect(answer).not.toContain('unpublished');
    }
    expect(devServer.requests).toEqual([]);
  });

  test('sends a person who opened another name of this machine to the own one, and shows a script nothing', async () => {
    const host = `127.0.0.1:${world.server.port}`;
    expect(await askAs(host)).toMatch(/^HTTP\/1\.1 400 /);
    const answer = await askAs(host, 'Accept: text/html', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document');
    expect(answer).toMatch(/^HTTP\/1\.1 302 /);
    expect(answer).toContain(`${world.origin}/src/main.ts\r\n`);
    expect(devServer.requests).toEqual([]);
  });

  test.each(['', ' ', 'a b', 'localhost:99999', 'user@localhost'])(
    'is not asked for what is no name: "%s"',
    async (host) => {
      expect(await askAs(host)).toMatch(/^HTTP\/1\.1 400 /);
      expect(devServer.requests).toEqual([]);
    },
  );

  test('is not reached by a forwarded name either, and by the own name it is', async () => {
    const { host } = new URL(world.origin);
    expect(await askAs('evil.test', `X-Forwarded-Host: ${host}`, `Forwarded: host=${host}`)).toMatch(
      /^HTTP\/1\.1 400 /,
    );
    expect(devServer.requests).toEqual([]);
    expect(await askAs(host)).toContain('unpublished');
    expect(devServer.requests).toHaveLength(1);
  });
});
