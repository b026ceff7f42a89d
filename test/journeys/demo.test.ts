/**
 * `npm start` with one's own API and app in place of the demo's, and what it says of what it does not take.
 * `browser/demo.test.ts` signs in to it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { cliEntry, runSallyport } from '../support/command-line.ts';
import { folderWith } from '../support/configuration-folder.ts';
import { freePort } from '../support/listener.ts';

/** Runs the demo until it is said what to try. @returns what is printed */
async function startDemo(env: Readonly<Record<string, string>>): Promise<string> {
  const cwd = await folderWith({
    'spa/index.html': '<p>the app</p>',
    '.env': 'SALLYPORT_API=/from-dotenv=http://localhost:1',
  });
  const child = spawn(process.execPath, [cliEntry, 'demo'], {
    cwd,
    env: { PATH: process.env['PATH'], SALLYPORT_PORT: String(await freePort()), SALLYPORT_SPA: 'spa', ...env },
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  let output = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    output += String(chunk);
    if (output.includes('Ctrl+C stops everything.')) break;
  }
  return output;
}

test('takes an API, and says what it must check in the tokens that it gets', async () => {
  const output = await startDemo({ SALLYPORT_API: '/api=http://127.0.0.1:8080 /files=http://127.0.0.1:8081/v1' });
  expect(output).toMatch(/Your API: +\/api=http:\/\/127\.0\.0\.1:8080\n +\/files=http:\/\/127\.0\.0\.1:8081\/v1\n/);
  const [, issuer = ''] = /issuer \(iss\) +(\S+)/.exec(output) ?? [];
  const [, jwks = ''] = /RS256, with the keys at (\S+)/.exec(output) ?? [];
  expect(output).toMatch(/audience \(aud\) +urn:example:notes\n/);
  const metadata = (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as Record<string, string>;
  expect([metadata['issuer'], metadata['jwks_uri']]).toEqual([issuer, jwks]);
  expect(await (await fetch(jwks)).json()).toMatchObject({ keys: [{ alg: 'RS256' }] });
  const [, origin = ''] = /running: +(\S+)/.exec(output) ?? [];
  expect(await (await fetch(origin)).text()).toBe('<p>the app</p>');
  const answer = await fetch(`${origin}/files/x`, { headers: { 'x-csrf': '1' } });
  expect(await answer.json()).toMatchObject({ code: 'login_required' });
});

test('shows the tour of its own API otherwise, whatever an .env file says', async () => {
  const output = await startDemo({ SALLYPORT_API: '' });
  expect(output).toContain('Press "Fire 20 calls at once"');
  expect(output).not.toContain('Your API');
  const [, origin = ''] = /running: +(\S+)/.exec(output) ?? [];
  const answer = await fetch(`${origin}/from-dotenv`, { headers: { 'x-csrf': '1' } });
  expect(await answer.json()).toMatchObject({ code: 'route_not_found' });
});

test('says which variables it does not take, and what a misspelt one is called', async () => {
  const variables = {
    SALLYPORT_ISSUER: 'https://canary.example.com',
    SALLYPORT_SECRET_FILE: '/canary',
    SALLYPORT_APIS: 'x',
  };
  const { errors } = runSallyport(['demo'], {
    env: { ...variables, SALLYPORT_API: 'http://localhost:8080', SALLYPORT_SPA: '/tmp' },
  });
  expect(errors).toContain('SALLYPORT_API (api): has an address without a prefix: write "/api=http');
  expect(errors).toContain('SALLYPORT_SPA (spa.folder): ');
  const output = await startDemo({ ...variables, SALLYPORT_LOG: 'debug' });
  expect(output).not.toContain('canary');
  expect(output).toContain(
    'The demo ignores SALLYPORT_ISSUER, SALLYPORT_SECRET_FILE, SALLYPORT_LOG: `npm run serve` takes them.',
  );
  expect(output).toContain('SALLYPORT_APIS is not a known variable and was ignored; did you mean SALLYPORT_API?');
});
