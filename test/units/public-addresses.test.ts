/** The rule that maps an API's own addresses to those that the browser reaches, and leaves every other one alone. */
import { assert, constantFrom, property, string, array } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPublicAddresses } from '../../src/proxy/public-addresses.ts';

const origin = 'https://app.example.com';

interface At {
  path?: string;
  target?: string;
  preserveHost?: boolean;
}

function addressesOf({ path = '/api', target = 'http://127.0.0.1:9100/v1', preserveHost = false }: At) {
  return createPublicAddresses({ path, target: new URL(target), preserveHost }, origin);
}

function mapped(address: string, at: At = {}): string | undefined {
  return addressesOf(at).mapHeaders({ location: address }).location;
}

describe('below a target with a path', () => {
  test.each([
    ['http://127.0.0.1:9100/v1/items/', '/api/items/'],
    ['http://127.0.0.1:9100/v1', '/api'],
    ['http://127.0.0.1:9100/v1?page=2#top', '/api?page=2#top'],
    ['/v1/items/?a=b&c=%2F#x', '/api/items/?a=b&c=%2F#x'],
    ['//127.0.0.1:9100/v1/items/', '/api/items/'],
    // Servers take the scheme from X-Forwarded-Proto and the host from Host.
    ['https://127.0.0.1:9100/v1/items/', '/api/items/'],
    ['HTTP://127.0.0.1:9100/v1/items/', '/api/items/'],
    // Built on X-Forwarded-Host, and on X-Forwarded-Prefix as well.
    ['https://app.example.com/v1/items/', '/api/items/'],
    ['https://app.example.com/api/v1/items/', '/api/items/'],
    ['http://127.0.0.1:9100/api/v1/items/', '/api/items/'],
    ['/api/v1/items/', '/api/items/'],
    // Read as a browser reads it.
    ['/v1/x/../items/', '/api/items/'],
    [String.raw`\v1`, String.raw`\v1`],
    [String.raw`/v1\items`, '/api/items'],
    ['/v1/caf\u00c3\u00a9', '/api/caf%C3%A9'],
    ['/v1/%7Eme', '/api/%7Eme'],
    ['http://user:secret@127.0.0.1:9100/v1/items/', '/api/items/'],
  ])('%s becomes %s', (address, expected) => {
    expect(mapped(address)).toBe(expected);
  });

  test.each([
    // Already public.
    '/api/items/',
    'https://app.example.com/api/items/',
    // The app's own pages, and what else is on its origin.
    '/',
    '/orders/42',
    '/bff/login?returnTo=%2F',
    'https://app.example.com/',
    'https://app.example.com/orders/42',
    // Beside the target's path.
    'http://127.0.0.1:9100/v2/items/',
    'http://127.0.0.1:9100/',
    '/v11/items',
    '/V1/items',
    '/v1/../admin',
    '/v1/..',
    // Other hosts.
    'https://elsewhere.test/v1/items/',
    'http://127.0.0.1:9101/v1/items/',
    'http://127.0.0.1.evil.test:9100/v1/',
    'http://127.0.0.1:9100@evil.test/v1/',
    '//evil.test/v1/items/',
    String.raw`/\evil.test/v1/items/`,
    'https:/v1/items/',
    // Relative to the request's own path, where both sides agree.
    'items/',
    '../items',
    '?page=2',
    '#top',
    '',
    // No address that a browser can open.
    'mailto:me@example.com',
    'ftp://127.0.0.1:9100/v1/',
    'http://',
    'http://[/v1',
    'javascript:alert(1)',
  ])('%s stays', (address) => {
    expect(mapped(address)).toBe(address);
  });
});

describe('below a target that is a whole host', () => {
  const at = { target: 'http://127.0.0.1:9100' };

  test.each([
    ['http://127.0.0.1:9100/items/', '/api/items/'],
    ['http://127.0.0.1:9100', '/api/'],
    ['/items/', '/api/items/'],
    ['/', '/api/'],
    ['/x//evil.test', '/api/x//evil.test'],
    // By an API that heeds X-Forwarded-Prefix.
    ['/api/items/', '/api/items/'],
    ['http://127.0.0.1:9100/api/items/', '/api/items/'],
    ['https://app.example.com/api/items/', '/api/items/'],
    // Perhaps a page of the app.
    ['https://app.example.com/items/', 'https://app.example.com/items/'],
    ['//evil.test/items/', '//evil.test/items/'],
  ])('%s becomes %s', (address, expected) => {
    expect(mapped(address, at)).toBe(expected);
  });

  test('an API that is told the public host as its own means itself by it', () => {
    expect(mapped('http://app.example.com/items/', { ...at, preserveHost: true })).toBe('/api/items/');
    expect(mapped('https://app.example.com/api/items/', { ...at, preserveHost: true })).toBe('/api/items/');
    expect(mapped('https://elsewhere.test/items/', { ...at, preserveHost: true })).toBe(
      'https://elsewhere.test/items/',
    );
  });
});

function prefixOf(path: string, target: string): string {
  return addressesOf({ path, target }).forwardedPrefix;
}

test('the prefix that the API is told is what stands before its own paths', () => {
  expect(prefixOf('/api', 'http://api')).toBe('/api');
  expect(prefixOf('/api', 'http://api/')).toBe('/api');
  expect(prefixOf('/api', 'http://api/v1')).toBe('/api');
  expect(prefixOf('/api', 'http://api/api')).toBe('');
  expect(prefixOf('/api', 'http://api/api/')).toBe('');
  expect(prefixOf('/shop/api', 'http://api/api')).toBe('/shop');
  expect(prefixOf('/shopapi', 'http://api/api')).toBe('/shopapi');
});

test('an API whose paths are the public ones keeps them, with or without a host', () => {
  const at = { path: '/shop/api', target: 'http://127.0.0.1:9100/api' };
  for (const address of [
    '/api/items/',
    'http://127.0.0.1:9100/api/items/',
    'https://app.example.com/shop/api/items/',
    '/shop/api/items/',
  ]) {
    expect([address, new URL(mapped(address, at) ?? '', origin).href]).toEqual([address, `${origin}/shop/api/items/`]);
  }
});

describe('by header', () => {
  const { mapHeaders } = addressesOf({});

  test('Location, Content-Location, Link and Refresh are mapped, once or several times', () => {
    const repeated = ['</v1/a>; rel=next', '<http://127.0.0.1:9100/v1/b>; rel=prev'] as unknown as string;
    expect(
      mapHeaders({
        'content-location': '/v1/items/1',
        link: repeated,
        refresh: '5; url=/v1/status',
        'x-self': '/v1/a',
      }),
    ).toEqual({
      'content-location': '/api/items/1',
      link: ['</api/a>; rel=next', '</api/b>; rel=prev'],
      refresh: '5; url=/api/status',
      'x-self': '/v1/a',
    });
  });

  test.each([
    [
      '</v1/a?page=2>; rel="next", <https://cdn.test/v1/a>; rel=x',
      '</api/a?page=2>; rel="next", <https://cdn.test/v1/a>; rel=x',
    ],
    ['</v1/a>; title="</v1/b>", </v1/c>', '</api/a>; title="</v1/b>", </api/c>'],
    [String.raw`</v1/a>; title="\"</v1/b>", </v1/c>`, String.raw`</api/a>; title="\"</v1/b>", </api/c>`],
    ['</v1/a>; title="open, </v1/b>', '</api/a>; title="open, </v1/b>'],
    ['<>; rel=self', '<>; rel=self'],
    ['</v1/a', '</v1/a'],
  ])('Link: %s', (link, expected) => {
    expect(mapHeaders({ link }).link).toBe(expected);
  });

  test.each([
    ['0; url=http://127.0.0.1:9100/v1/a', '0; url=/api/a'],
    ['3;URL="/v1/a"', '3;URL="/api/a"'],
    ["1, url = '/v1/a'", "1, url = '/api/a'"],
    ['2; /v1/a', '2; /api/a'],
    ['5', '5'],
    ['0; url=https://elsewhere.test/v1/a', '0; url=https://elsewhere.test/v1/a'],
  ])('Refresh: %s', (refresh, expected) => {
    expect(mapHeaders({ refresh }).refresh).toBe(expected);
  });

  test('headers without addresses are the same object', () => {
    const headers = { 'content-type': 'text/plain' };
    expect(mapHeaders(headers)).toBe(headers);
  });
});

test('what is changed led to the API, and leads below the prefix: in any spelling', () => {
  const part = constantFrom(
    'http:', 'https:', '/', '//', '\\', '/v1', '/api', '127.0.0.1:9100', 'app.example.com', 'evil.test', '@', '..', '.',
    '%2e', '%2f', '?', '#', ' ', '\t', ':', 'x', '\u00e9',
  ); // prettier-ignore
  const anything = array(part, { maxLength: 8 }).map((parts) => parts.join(''));
  for (const at of [
    { path: '/api' },
    { path: '/api', target: 'http://127.0.0.1:9100' },
    { path: '', target: 'http://127.0.0.1:9100' },
  ]) {
    assert(
      property(anything, string({ maxLength: 3 }), (address, tail) => {
        const got = mapped(address + tail, at) ?? '';
        if (got === address + tail) return;
        const meant = URL.parse(address + tail, 'http://127.0.0.1:9100/v1/here');
        expect(['127.0.0.1:9100', 'app.example.com']).toContain(meant?.host);
        expect(new URL(got, `${origin}/here`).href).toBe(origin + got);
        expect(got).toMatch(at.path === '' ? /^\// : /^\/api(?:[/?#]|$)/);
      }),
      { numRuns: 3000 },
    );
  }
});
