/** Addresses of Redis and Valkey: what each form means, and how a wrong one is refused. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRedisUrl, type RedisAddress, RedisUrlFault } from '../../src/config/redis-url.ts';

const nobody = { username: undefined, password: undefined };

const server: RedisAddress = {
  kind: 'server',
  nodes: [{ host: 'localhost', port: 6379 }],
  tls: false,
  credentials: nobody,
  database: 0,
  masterName: '',
  sentinelCredentials: nobody,
};

describe('an address', () => {
  test.each<[string, Partial<RedisAddress>]>([
    ['redis://localhost', {}],
    ['redis://localhost/', {}],
    ['redis://localhost:6380/3', { nodes: [{ host: 'localhost', port: 6380 }], database: 3 }],
    ['rediss://cache.example.com', { nodes: [{ host: 'cache.example.com', port: 6379 }], tls: true }],
    ['redis://[::1]:7000', { nodes: [{ host: '::1', port: 7000 }] }],
    ['redis://:p%40ss%2F@localhost', { credentials: { username: undefined, password: 'p@ss/' } }],
    ['redis://bff:a:b@localhost', { credentials: { username: 'bff', password: 'a:b' } }],
    ['redis://bff@localhost', { credentials: { username: 'bff', password: undefined } }],
    ['unix:///run/redis.sock', { nodes: [{ path: '/run/redis.sock' }] }],
    ['unix:///run/my%20redis.sock?db=2', { nodes: [{ path: '/run/my redis.sock' }], database: 2 }],
    [
      'unix://bff:secret@/run/redis.sock',
      { nodes: [{ path: '/run/redis.sock' }], credentials: { username: 'bff', password: 'secret' } },
    ],
    [
      'redis+sentinel://10.0.0.1,10.0.0.2:26380,[::1]/the-master',
      {
        kind: 'sentinel',
        masterName: 'the-master',
        nodes: [
          { host: '10.0.0.1', port: 26379 },
          { host: '10.0.0.2', port: 26380 },
          { host: '::1', port: 26379 },
        ],
      },
    ],
    [
      'rediss+sentinel://bff:secret@sentinel.test/the-master/4?sentinelUsername=s&sentinelPassword=p%26w',
      {
        kind: 'sentinel',
        tls: true,
        masterName: 'the-master',
        nodes: [{ host: 'sentinel.test', port: 26379 }],
        database: 4,
        credentials: { username: 'bff', password: 'secret' },
        sentinelCredentials: { username: 's', password: 'p&w' },
      },
    ],
    [
      'rediss+cluster://10.0.0.1,10.0.0.2:7000',
      {
        kind: 'cluster',
        tls: true,
        nodes: [
          { host: '10.0.0.1', port: 6379 },
          { host: '10.0.0.2', port: 7000 },
        ],
      },
    ],
  ])('%s is read', (text, expected) => {
    expect(parseRedisUrl(text)).toEqual({ ...server, ...expected });
  });

  test('holds any password, percent-encoded', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (password) => {
        const { credentials } = parseRedisUrl(`redis://:${encodeURIComponent(password)}@localhost`);
        expect(credentials.password).toBe(password);
      }),
    );
  });

  test.each([
    ['', /^must be a URL such as/],
    ['localhost:6379', /^must be a URL such as/],
    ['http://localhost', /^must be a URL such as/],
    ['redis+sharded://localhost', /^must be a URL such as/],
    ['redis://', /^must be a URL such as/],
    ['redis://:canary@', /^must be a URL such as/],
    ['redis://:canary@localhost:no-port', /percent-encode/],
    ['redis://:canary@localhost:65536', /^must be a URL such as/],
    ['redis://:canary#1@localhost', /percent-encode/],
    ['redis://:canary/1@localhost', /percent-encode/],
    ['redis://:canary%@localhost', /"%" that begins no escape; percent-encode/],
    ['redis://:canary?1@localhost', /percent-encode/],
    ['redis://localhost/canary', /number of the database/],
    ['redis://localhost/-1', /number of the database/],
    ['redis://localhost?canary=1', /can have no parameters/],
    ['redis://localhost,127.0.0.1', /names several servers/],
    ['redis+cluster://localhost/1', /no database/],
    ['redis+cluster://localhost?canary=1', /can have no parameters/],
    ['redis+sentinel://localhost', /must end in the name/],
    ['redis+sentinel://localhost/', /must end in the name/],
    ['redis+sentinel://localhost/a/b', /number of the database/],
    ['redis+sentinel://localhost/a/0/b', /must end in the name/],
    ['redis+sentinel://localhost/a?password=canary', /no parameters but "sentinelUsername", "sentinelPassword"/],
    ['unix://run/redis.sock', /whole path/],
    ['unix:///', /whole path/],
    ['unix:///run/redis.sock?canary=1', /no parameters but "db"/],
    ['unix:///run/redis.sock?db=canary', /number of the database/],
  ])('%s is refused', (text, expected) => {
    const message = messageOf(text);
    expect(message).toMatch(expected);
    expect(message).not.toContain('canary');
  });

  test('is read, or refused in words that hold nothing of it', () => {
    const part = fc.constantFrom(
      'redis',
      'unix',
      '+sentinel',
      '+cluster',
      '://',
      '/',
      ':',
      '@',
      ',',
      '?',
      '#',
      '%',
      'q9Zx',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        expect(messageOf(parts.join(''))).not.toContain('q9Zx');
      }),
    );
  });
});

/** Why a text is refused; empty if it is not. */
function messageOf(text: string): string {
  try {
    parseRedisUrl(text);
    return '';
  } catch (error) {
    if (!(error instanceof RedisUrlFault)) throw error;
    return error.message;
  }
}
