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
import { assert, asyncProperty } from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createBff } from '../../src/bff.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { generatedPath, spellings } from '../support/hostile-paths.ts';
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

describe('is refused where the API', () => {
  test.each(spellings)('%s', async (_reader, paths) => {
    const passed: string[] = [];
    for (const target of paths.flatMap((path) => [`/api${path}`, `/%61pi${path}`])) {
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
    .replaceAll(/i\u0307|ı/g, 'i')
    .replace(/[\p{Cc}\s]/gu, '')
    .replace(/[?#].*/, '')
    .replaceAll('\\', '/')
    .replace(/;[^/]*/g, '')
    .replace(/\/{2,}/g, '/');
}

test('no DELETE that the most obliging server would take for the admin reaches it, however mixed', async () => {
  const admin = /^\/admin(?:\/|$)/;
  const counts = { through: 0, refused: 0, routed: 0 };
  await assert(
    asyncProperty(generatedPath, async (rest) => {
      const { status, got } = await outcomeOf('DELETE', `/api${rest}`);
      counts[got.length > 0 ? 'through' : status === 405 ? 'routed' : 'refused'] += 1;
      expect(got.filter((call) => admin.test(loosely(call.replace('DELETE ', ''))))).toEqual([]);
      expect([200, 400, 405]).toContain(status);
    }),
    { numRuns: 600 },
  );
  expect(Math.min(...Object.values(counts))).toBeGreaterThan(10);
});
