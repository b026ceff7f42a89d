/**
 * The attacker's story: "I may call the API, but its admin pages only with GET: they have a route of their own, below the
 * other. Two programs read my path. The proxy finds no admin page in `/api/%61dmin`, `/api//admin` or `/api/ADMIN;x`, and
 * takes the route for everything else, with its methods and its limits. The API behind it decodes, folds, cuts and merges
 * as it was taught to, and there is the admin page, and my DELETE."
 *
 * Must hold: a path takes the route that the API will read in it, or it is refused; and what can't be meant so passes.
 * What real routers read in paths is tried in test/routers.
 */
import { getRequestListener } from '@hono/node-server';
import { array, assert, asyncProperty, constantFrom, oneof, tuple, type Arbitrary } from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createBff } from '../../src/bff.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { startListener } from '../support/listener.ts';
import { rawCall, sendRaw, withPlainLetters } from '../support/raw-call.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;

beforeAll(async () => {
  world = await startWorld(
    {
      config: (base) => {
        const target = String(base.api?.[0]?.target);
        return {
          ...base,
          api: [
            { path: '/api', target },
            { path: '/api/admin', target: `${target}/admin`, methods: ['GET'], websocket: false },
            { path: '/api/tasks/kiosk', target: `${target}/tasks/kiosk`, methods: ['GET'] },
            { path: '/api/upload', target: `${target}/upload`, maxBodyBytes: 10 },
            { path: '/api/files', target: `${target}/files`, allowEncodedSlashes: true },
            { path: '/api/files/private', target: `${target}/files/private`, methods: ['GET'] },
            // The other way round: what lies deeper may do more.
            { path: '/read', target, methods: ['GET'] },
            { path: '/read/drafts', target: `${target}/drafts`, allowEncodedSlashes: true },
          ],
        };
      },
    },
    { scope: 'manual' },
  );
  alice = world.client();
  await signIn(alice);
});

beforeEach(() => {
  world.api.requests.length = 0;
});

afterAll(() => world.stop());

interface Outcome {
  status: number | undefined;
  code: string | undefined;
  /** What the API was asked for. */
  got: string[];
}

async function outcomeOf(method: string, target: string, more: Partial<Parameters<typeof sendRaw>[2]> = {}) {
  world.api.requests.length = 0;
  const answer = await sendRaw(world, alice, { method, target, ...more });
  return toOutcome(answer);
}

function toOutcome(answer: string): Outcome {
  return {
    status: rawStatuses(Buffer.from(answer, 'latin1')).at(-1),
    code: /"code":"(\w+)"/.exec(answer)?.[1],
    got: world.api.requests.map((request) => `${request.method} ${withPlainLetters(request.url)}`),
  };
}

const refused: Outcome = { status: 400, code: 'request_invalid', got: [] };
const notAllowed: Outcome = { status: 405, code: 'method_not_allowed', got: [] };

describe('takes the admin’s route, for it says just that:', () => {
  test.each([
    ['/api/admin', '/admin'],
    ['/api/admin/', '/admin/'],
    ['/api/admin?x=/api/orders', '/admin?x=/api/orders'],
    ['/api/%61dmin', '/admin'],
    ['/api/%61%64%6D%69%6e', '/admin'],
    ['/api/admi%6E/users', '/admin/users'],
    ['/%61pi/%61dmin/users?%61=%2e%2e', '/admin/users?%61=%2e%2e'],
    ['/ap%69/admin', '/admin'],
    ['/api/admin/%7euser%2D1%5f%2e', '/admin/~user-1_.'],
    ['/api/admin/a//B;c/%20/%E2%84%AA', '/admin/a//B;c/%20/%E2%84%AA'],
  ])('%s', async (target, expected) => {
    expect(await outcomeOf('GET', target)).toEqual({ status: 200, code: undefined, got: [`GET ${expected}`] });
    for (const method of ['DELETE', 'POST', 'HEAD', 'QUERY']) {
      const { status, got } = await outcomeOf(method, target);
      expect({ status, got }).toEqual({ status: 405, got: [] });
    }
  });
});

/** What some server or other reads as `/admin`, told by how it comes to that. */
const spellings: ReadonlyArray<readonly [reader: string, targets: string[]]> = [
  [
    'merges slashes',
    ['/api//admin', '/api///admin', '/api//admin/users', '/api//admin?x', '/api//%61dmin', '/api//tasks//kiosk'],
  ],
  [
    'cuts path parameters',
    [
      '/api/admin;x',
      '/api/admin;',
      '/api/admin;x=y/users',
      '/api/admin;x?y',
      '/api/;/admin',
      '/api/;x=y/admin',
      '/api/tasks;a=b/kiosk;c',
      '/api/admin%3b',
      '/api/admin%3Bx=y/users',
    ],
  ],
  [
    'cuts off a format, as Rails does',
    ['/api/admin.json', '/api/admin.', '/api/admin.json/users', '/api/ADMIN.html;x', '/api/tasks/kiosk.xml?x'],
  ],
  ['reads small letters and capitals as one', ['/api/ADMIN', '/api/Admin/users', '/api/%41dmin', '/api/Tasks/KIOSK']],
  [
    'decodes twice, or thrice',
    [
      '/api/%2561dmin',
      '/api/%252561dmin',
      '/api/%25%36%31dmin',
      '/api/%2%35%36%31dmin',
      '/api/admi%256e/users',
      '/api/tasks%252fkiosk',
      '/api/%252fadmin',
      '/api/admin%252fusers',
      '/api/admin%253bx',
    ],
  ],
  ['decodes what decoding makes', ['/api/%%36%31dmin', '/api/%%361dmin', '/api/%6%31dmin', '/api/admin%%33b']],
  ['decodes an end of the path', ['/api/admin%3f', '/api/admin%3Fx=y', '/api/admin%3f/users', '/api/admin%23x']],
  ['decodes such an end twice', ['/api/admin%253f', '/api/admin%2523x']],
  [
    'reads a backslash as a slash',
    ['/api/%5cadmin', '/api/admin%5cusers', '/api/tasks%5ckiosk', '/api/admin%255cusers', '/api/admin\\x'],
  ],
  ['decodes a slash', ['/api/%2fadmin', '/api/admin%2f', '/api/admin%2Fusers', '/api/tasks%2fkiosk', '/api/%2Fadmin']],
  ['stops at a NUL', ['/api/admin%00', '/api/admin%00.json', '/api/admin%2500']],
  [
    'drops spaces and control characters',
    [
      '/api/admin%20',
      '/api/%20admin',
      '/api/admin%20/users',
      '/api/admin%09',
      '/api/adm%0ain',
      '/api/admin%0d%0a',
      '/api/admin%7f',
      '/api/admin%C2%85',
      '/api/admin%C2%A0',
      '/api/admin%E3%80%80',
    ],
  ],
  [
    'normalises Unicode (NFKC)',
    [
      '/api/%EF%BC%A1dmin',
      '/api/%EF%BD%81dmin',
      '/api/%E2%93%90dmin',
      '/api/%F0%9D%90%9Admin',
      '/api/%C2%AAdmin',
      '/api/%EF%BC%8Fadmin',
      '/api/admin%EF%BC%8Fusers',
      '/api/admin%EF%BC%9Bx',
      '/api/admin%EF%BC%9F',
      '/api/admin%EF%BC%83x',
      '/api/admin%EF%BC%BCx',
      '/api/%25EF%25BC%25A1dmin',
    ],
  ],
  [
    'folds letters that only look alike, as Java’s and .NET’s do',
    [
      '/api/adm%C4%B1n',
      '/api/adm%C4%B0n',
      '/api/tasks/%E2%84%AAiosk',
      '/api/ta%C5%BFks/kiosk',
      '/api/TA%C5%BFKS/KIO%C5%BFK',
    ],
  ],
  [
    'takes out dot segments',
    ['/api/./admin', '/api/x/../admin', '/api/x/..;/admin', '/api/%2e/admin', '/api/x/%2e%2e/admin'],
  ],
  [
    'takes out dot segments once more, after decoding once more',
    [
      '/api/%252e/admin',
      '/api/x/%252e%252e/admin',
      '/api/x/%25252e%25252e/admin',
      '/api/x%252f..%252fadmin',
      '/api/x/%%32%65%%32%65/admin',
    ],
  ],
  ['does several of it', ['/api//ADMIN;x', '/api/;/%2541dmin%20', '/api/%5C%EF%BC%A1DMIN%3b/x', '/%61pi//%41dmin']],
];

describe('is refused where the API', () => {
  test.each(spellings)('%s', async (_reader, targets) => {
    const passed: string[] = [];
    for (const target of targets) {
      for (const method of ['DELETE', 'GET', 'POST']) {
        const outcome = await outcomeOf(method, target);
        if (JSON.stringify(outcome) !== JSON.stringify(refused))
          passed.push(`${method} ${target}: ${JSON.stringify(outcome)}`);
      }
    }
    expect(passed).toEqual([]);
  });

  test('decodes slashes that may pass on the way', async () => {
    for (const target of [
      '/api/files/private%2fx',
      '/api/files/%2fprivate',
      '/api/files/x%2f..%2fprivate',
      '/api/files/private%5c',
    ]) {
      expect([target, await outcomeOf('DELETE', target)]).toEqual([target, refused]);
    }
    expect(await outcomeOf('DELETE', '/api/files/a%2Fb')).toMatchObject({ status: 200, got: ['DELETE /files/a%2Fb'] });
  });

  test('reads what may do less in the route of what may do more', async () => {
    for (const rest of [
      '/../orders',
      '/..;/orders',
      '/%2e%2e/orders',
      '/..%2forders',
      '/%2e%2e%2forders',
      '/..%5corders',
      '/%252e%252e/orders',
      '/..%252forders',
      '/%252e%252e%252forders',
      '/%%32%65%%32%65/orders',
      ';/../orders',
      '%2f..%2forders',
      '%2f%2e%2e%2forders',
    ]) {
      const outcome = await outcomeOf('DELETE', `/read/drafts${rest}`);
      expect([rest, outcome.got]).toEqual([rest, []]);
      expect([400, 405]).toContain(outcome.status);
    }
  });
});

describe('is no call of the API at all:', () => {
  test.each([
    '/api;x/admin',
    '/api;/admin',
    '/api%2fadmin',
    '/api%5cadmin',
    '/api%252fadmin',
    '/api\\admin',
    '/API/admin',
    '//api/admin',
    '/;/api/admin',
    '/%2561pi/admin',
    '/%EF%BD%81pi/admin',
    '/x/../api/admin',
  ])('%s', async (target) => {
    for (const method of ['DELETE', 'GET']) {
      const { status, got } = await outcomeOf(method, target);
      expect(got).toEqual([]);
      expect([200, 400, 404, 405]).toContain(status);
    }
  });
});

describe('passes as ever, for nobody reads the admin in it:', () => {
  test.each([
    ['/api', '/'],
    ['/api/', '/'],
    ['/api/administrators', '/administrators'],
    ['/api/admin-tools', '/admin-tools'],
    ['/api/adm', '/adm'],
    ['/api/x/admin', '/x/admin'],
    ['/api/users//admin', '/users//admin'],
    ['/api/users;v=2', '/users;v=2'],
    ['/api/users;v=2/admin;x', '/users;v=2/admin;x'],
    ['/api//users', '//users'],
    ['/api/Users', '/Users'],
    ['/api/a%20b', '/a%20b'],
    ['/api/caf%C3%A9', '/caf%C3%A9'],
    ['/api/%C3%A4dmin', '/%C3%A4dmin'],
    ['/api/%E5%85%A8', '/%E5%85%A8'],
    ['/api/50%25', '/50%25'],
    ['/api/100%25admin', '/100%25admin'],
    ['/api/a%3Fb', '/a%3Fb'],
    ['/api/%23admin', '/%23admin'],
    ['/api/tasks', '/tasks'],
    ['/api/tasks/x/kiosk', '/tasks/x/kiosk'],
    ['/api/Tasks/KIOSKS', '/Tasks/KIOSKS'],
    ['/api/%75sers', '/users'],
    ['/api/%7Eme/%2Dx', '/~me/-x'],
    ['/api/x?path=/api//admin;x', '/x?path=/api//admin;x'],
    ['/api?/admin', '/?/admin'],
    ['/api/x?%61=%2e%2e%2f', '/x?%61=%2e%2e%2f'],
  ])('%s', async (target, expected) => {
    expect(await outcomeOf('DELETE', target)).toEqual({ status: 200, code: undefined, got: [`DELETE ${expected}`] });
  });
});

describe('the limits of a route', () => {
  test('hold for every spelling that takes it, and no other spelling gets around them', async () => {
    const lines = ['Content-Length: 11'];
    const body = 'eleven byte';
    expect(await outcomeOf('PUT', '/api/%75pload', { lines, body })).toMatchObject({ status: 413, got: [] });
    for (const target of ['/api//upload', '/api/UPLOAD', '/api/upload;x', '/api/%2575pload']) {
      expect([target, await outcomeOf('PUT', target, { lines, body })]).toEqual([target, refused]);
    }
    expect(await outcomeOf('PUT', '/api/other', { lines, body })).toMatchObject({ status: 200, got: ['PUT /other'] });
  });

  test('hold for WebSockets, which the admin’s route takes none of', async () => {
    const opened: string[] = [];
    world.api.server.on('upgrade', (request, socket) => {
      opened.push(withPlainLetters(request.url ?? ''));
      socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
    });
    const lines = [
      `Origin: ${world.origin}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    const open = async (target: string) =>
      rawStatuses(await rawRequest(world.server.port, rawCall(world, alice, { target, lines }))).at(-1);
    for (const target of ['/api/admin', '/api/%61dmin', '/api/admin/x'])
      expect([target, await open(target)]).toEqual([target, 404]);
    for (const target of ['/api//admin', '/api/ADMIN', '/api/admin;x', '/api/%2561dmin', '/api/%%36%31dmin']) {
      expect([target, await open(target)]).toEqual([target, 400]);
    }
    expect(opened).toEqual([]);
    expect(await open('/api/%65vents')).toBe(101);
    expect(opened).toEqual(['/events']);
    world.api.server.removeAllListeners('upgrade');
  });

  test('hold where another app mounts ours, and reads paths its own way', async () => {
    const bff = createBff(world.config);
    const listener = await startListener((request, response) => {
      void getRequestListener(bff.app.fetch, { overrideGlobalObjects: false })(request, response);
    });
    const ask = async (method: string, target: string) => {
      world.api.requests.length = 0;
      const lines = ['Connection: close'];
      return toOutcome((await rawRequest(listener.port, rawCall(world, alice, { method, target, lines }))).toString());
    };
    expect(await ask('GET', '/api/%61dmin')).toMatchObject({ status: 200, got: ['GET /admin'] });
    for (const target of ['/api/admin', '/api/%61dmin'])
      expect([target, await ask('DELETE', target)]).toEqual([target, notAllowed]);
    for (const target of [
      '/api//admin',
      '/api/ADMIN',
      '/api/admin;x',
      '/api/%2561dmin',
      '/api/%%36%31dmin',
      '/api/x/../admin',
    ]) {
      const { got, status } = await ask('DELETE', target);
      expect([target, got]).toEqual([target, []]);
      expect([400, 404, 405]).toContain(status);
    }
    await listener.close();
    await bff.close();
  });
});

/** As the most obliging of servers: whatever can be read as a plain path is. */
function loosely(path: string): string {
  let read = path;
  for (let round = 0; round < 4; round += 1) {
    read = read.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString());
  }
  return read
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\p{Cc}\s]/gu, '')
    .replace(/[?#].*/, '')
    .replaceAll('\\', '/')
    .replace(/;[^/]*/g, '')
    .replace(/\/{2,}/g, '/');
}

/** One letter, as it is or in one of the spellings that some server undoes. */
function spelled(letter: string): Arbitrary<string> {
  const code = letter.charCodeAt(0);
  const hex = code.toString(16);
  const wide = encodeURIComponent(String.fromCharCode(code + 0xfee0));
  const [high, low] = Array.from(hex);
  return oneof(
    { weight: 20, arbitrary: constantFrom(letter, `%${hex}`) },
    { weight: 3, arbitrary: constantFrom(letter.toUpperCase(), `%25${hex}`, `%%3${high}${low}`, wide) },
  );
}

test('no DELETE that the most obliging server would take for the admin reaches it, in any mixture', async () => {
  const noise = oneof(
    { weight: 3, arbitrary: constantFrom('') },
    { weight: 1, arbitrary: constantFrom(...';|;x=y|%3b|%20|%09|%00|%3f|%23|%2f|%5c|/|//|/./|/;/'.split('|')) },
  );
  const segment = oneof(
    { weight: 3, arbitrary: tuple(...Array.from('admin', spelled)).map((letters) => letters.join('')) },
    { weight: 2, arbitrary: constantFrom('orders', 'users', 'Admins', 'administrator') },
    { weight: 1, arbitrary: constantFrom('..', '%2e%2e', '%252e', 'x') },
  );
  const path = array(tuple(noise, segment, noise), { minLength: 1, maxLength: 3 }).map((parts) =>
    parts.map(([before, name, after]) => `/${before}${name}${after}`).join(''),
  );
  const admin = /^\/admin(?:\/|$)/;
  const counts = { through: 0, refused: 0, routed: 0 };
  await assert(
    asyncProperty(path, async (rest) => {
      const { status, got } = await outcomeOf('DELETE', `/api${rest}`);
      counts[got.length > 0 ? 'through' : status === 405 ? 'routed' : 'refused'] += 1;
      expect(got.filter((call) => admin.test(loosely(call.replace('DELETE ', ''))))).toEqual([]);
      expect([200, 400, 405]).toContain(status);
    }),
    { numRuns: 600 },
  );
  expect(Math.min(...Object.values(counts))).toBeGreaterThan(10);
});
