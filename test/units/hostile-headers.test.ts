/** Headers of an API that make reading them expensive: each call that gets one would hold up all others. */
import { expect, test } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { pushPrivateCaching } from '../../src/proxy/caching-headers.ts';
import { createPublicAddresses } from '../../src/proxy/public-addresses.ts';
import { createRouteCookies } from '../../src/proxy/route-cookies.ts';
import { cookieNames } from '../../src/session/cookies.ts';

const config = resolveConfig({
  origin: 'http://localhost:3000',
  issuer: 'http://127.0.0.1:9000',
  client: { id: 'app', secret: 'secret' },
  secrets: ['a secret that only tests know, of 40 signs'],
  api: [{ path: '/api', target: 'http://api.test', cookies: ['lb'] }],
});

/** About as much as the headers of a response may be. */
const length = 30_000;

function expectCheap(work: () => void): void {
  const before = process.cpuUsage();
  work();
  expect(process.cpuUsage(before).user).toBeLessThan(500_000);
}

test.each([
  ['marks that are escaped', '"' + String.raw`\"`.repeat(length / 2)],
  ['a mark that is escaped at the end', '"' + String.raw`\"`.repeat(length / 2) + '\\'],
  ['marks', '"'.repeat(length)],
])('Cache-Control of %s', (_story, value) => {
  expectCheap(() => {
    const out: string[] = [];
    pushPrivateCaching(out, new Map([['cache-control', [value]]]), false);
    expect(out.includes(`private, ${value}`)).toBe(true);
  });
});

test.each([
  ['inside', `domain=a${' '.repeat(length)}b`],
  ['in front', `${' '.repeat(length)}domain`],
  ['behind', `domain=api.test${' '.repeat(length)}`],
])('Set-Cookie with blanks %s', (_story, attribute) => {
  const [route] = config.api;
  if (route === undefined) throw new Error('there is no route');
  const cookies = createRouteCookies(route.cookies, cookieNames(config), {
    addresses: createPublicAddresses(route, config.origin),
    target: route.target,
    publicHost: 'localhost:3000',
  });
  expectCheap(() => expect(cookies?.toBrowser(`lb=1;${attribute}`).startsWith('lb=1')).toBe(true));
});
