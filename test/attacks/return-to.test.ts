/**
 * The attacker's story: "I send people a link to the real sign-in of the app they trust. Its `returnTo` is mine: after
 * signing in they land on my copy of the app, which says 'your session has expired, enter your password'. I write my host
 * in every way that the server's check takes for a path and a browser doesn't. If that fails, I'll have a script URL, a
 * header of my own in the redirect, or a loop that locks people out. Or, best of all, I stay on the app's own host and
 * let the browser call the API for me: the page after the sign-in navigates from the app's own origin."
 *
 * Must hold: whatever comes of a link, a person ends on a page of the app, and nothing is done on the way.
 */
import { array, assert, constantFrom, oneof, property, string } from 'fast-check';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { parseReturnTo } from '../../src/http/return-to.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { launchChromium } from '../support/chromium.ts';
import { acceptable, ambiguous, corpusOrigin, leadsAway } from '../support/hostile-return-to.ts';
import { startListener } from '../support/listener.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

const hostile = [...leadsAway, ...ambiguous];
const config = resolveConfig({
  origin: corpusOrigin,
  issuer: 'https://login.example.test',
  client: { id: 'app', secret: 'client-secret' },
  secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
  api: [{ path: '/api', target: 'http://localhost:1' }],
});

/** Where a browser at `base` goes; undefined when it goes nowhere. */
function destination(value: string, base = corpusOrigin): URL | undefined {
  return URL.canParse(value, base) ? new URL(value, base) : undefined;
}

/** A path as the router reads it. */
function decoded(path: string): string {
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString());
}

describe('the corpus', () => {
  test('holds at least 150 hostile values, each once', () => {
    expect(new Set(hostile).size).toBe(hostile.length);
    expect(hostile.length).toBeGreaterThanOrEqual(150);
  });

  test('is grouped by what the WHATWG URL parser makes of it', () => {
    expect(leadsAway.filter((value) => destination(value)?.origin === corpusOrigin)).toEqual([]);
    expect(ambiguous.filter((value) => destination(value)?.origin !== corpusOrigin)).toEqual([]);
    const resolved = acceptable.map(([value]) => [value, destination(value)?.href]);
    expect(resolved).toEqual(acceptable.map(([value, result]) => [value, corpusOrigin + result]));
  });
});

describe('/bff/login', () => {
  let world: World;

  beforeAll(async () => {
    world = await startWorld({}, { scope: 'manual' });
  });

  afterAll(() => world.stop());

  test('refuses every hostile value with 400, without a cookie, and quotes none on the page', async () => {
    const browser = world.client();
    const passed: string[] = [];
    for (const value of hostile) {
      const query = new URLSearchParams({ returnTo: value });
      const answer = await browser.navigate(`/bff/login?${query.toString()}`, { follow: false });
      const refused = answer.status === 400 && answer.text.includes('return_to_invalid');
      const silent =
        answer.setCookies.length === 0 && !/evil|alert|\/\//.test(answer.text.replace(/<style>.*style>/s, ''));
      if (!refused || !silent || answer.headers.location !== undefined) passed.push(value);
    }
    expect(passed).toEqual([]);
    expect(world.provider.calls.authorization).toBe(0);
  });

  test('refuses a value that stands twice, whichever is the good one', async () => {
    for (const query of ['returnTo=/orders&returnTo=//evil.test', 'returnTo=//evil.test&returnTo=/orders']) {
      const answer = await world.client().navigate(`/bff/login?${query}`, { follow: false });
      expect(answer.status).toBe(400);
      expect(answer.setCookies).toEqual([]);
    }
  });

  test('brings people back to every good value, on the own origin', async () => {
    const browser = world.client();
    for (const [value, result] of acceptable) {
      const page = await signIn(browser, 'alice', value);
      const callback = page.chain.findLast((hop) => new URL(hop.url).pathname === '/bff/callback');
      expect(callback?.headers.location).toBe(result);
    }
  });

  test('never hands a returnTo to the provider, nor takes one from its answer', async () => {
    const browser = world.client();
    const undo = world.provider.mutateCallback((parameters) => {
      parameters.set('returnTo', 'https://evil.test/');
      return parameters;
    });
    const page = await signIn(browser, 'alice', '/orders?secret-path');
    undo();
    expect(page.url).toBe(`${world.origin}/orders?secret-path`);
    expect(JSON.stringify(world.provider.requests)).not.toContain('secret-path');
  });
});

describe('a link that makes the browser call the API', () => {
  let world: World;
  let victim: BrowserClient;

  beforeAll(async () => {
    world = await startWorld(
      {
        config: (base) => ({
          ...base,
          // The page after the sign-in is one of ours, and what it navigates to is asked for by the own origin.
          spa: { ...base.spa, requireLogin: true },
          api: [...(base.api ?? []), { path: '/reports/run', target: String(base.api?.[0]?.target) }],
        }),
      },
      { scope: 'manual' },
    );
    victim = world.client();
    await signIn(victim);
  });

  beforeEach(() => {
    world.api.requests.length = 0;
    world.provider.resetCalls();
  });

  afterAll(() => world.stop());

  const targets = words(`
    /api/transfer?to=evil /api /api/ /api?x=1 /api#x /%61pi/transfer /%61%70%69/transfer /./api/transfer
    /orders/../api/transfer /orders/%2e%2e/api/transfer /api/../api/transfer /api%2ftransfer /api/%74ransfer
    /reports/run /reports/run/now /reports/%72un /reports/./run /reports/x/../run?now
  `);

  test.each(targets)('%s: refused before anything is begun, wherever the link stands', async (returnTo) => {
    for (const initiator of ['https://evil.test', 'http://sub.localhost:1', world.origin, 'none']) {
      for (const more of ['', '&prompt=none', '&prompt=login']) {
        const link = `/bff/login?returnTo=${encodeURIComponent(returnTo)}${more}`;
        const page = await victim.navigate(link, { initiator });
        expect([page.status, page.chain.length, page.setCookies]).toEqual([400, 1, []]);
        expect(page.text).toContain('return_to_invalid');
      }
    }
    expect(world.api.requests).toEqual([]);
    expect(world.provider.calls.authorization).toBe(0);
  });

  test.each(['/reports', '/reports/runner', '/reports/2/run', '/apis/x', '/orders?then=/api/transfer#/api'])(
    '%s: a page of the app, which people come back to and which calls nothing',
    async (returnTo) => {
      const page = await signIn(victim, 'alice', returnTo);
      expect([page.status, page.url]).toEqual([200, world.origin + returnTo]);
      expect(world.api.requests).toEqual([]);
    },
  );

  test('a page that became an API’s address while somebody signed in is not gone to', async () => {
    const own = await startWorld({ config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }) });
    const browser = own.client();
    const callback = await leadToCallback(browser, '/bff/login?returnTo=/orders/submit');
    await own.restart((base) => ({
      ...base,
      api: [...(base.api ?? []), { path: '/orders', target: own.api.url }],
    }));
    const page = await browser.navigate(callback.href, { initiator: own.provider.issuer });
    expect(own.api.requests).toEqual([]);
    expect(page.url).toBe(`${own.origin}/`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });
});

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

describe('whatever parseReturnTo accepts', () => {
  /** The pieces of which hostile values are made. */
  const visible =
    '/ // \\ . .. %2e %2f %5c %00 %09 @ : ? # ; & ／ ＼ https: javascript: data: evil.test bff %62ff api %61pi [ ] [::1]';
  const invisible = ['\t', '\n', '\r', '\0', ' ', '\u00a0', '\u2028', '\ufeff', '\ud800'];
  const piece = constantFrom(...visible.split(' '), 'orders', 'login', 'app.example.test', ...invisible);
  const value = oneof(
    array(piece, { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`),
    array(oneof(piece, string({ unit: 'binary', maxLength: 3 })), { maxLength: 8 }).map((pieces) => pieces.join('')),
    string({ unit: 'binary' }).map((text) => `/${text}`),
  );

  test('resolves to the own origin, is stable when read again, and is no endpoint or API', () => {
    let accepted = 0;
    assert(
      property(value, (returnTo) => {
        const path = parseReturnTo(returnTo, config);
        if (path === undefined) return;
        accepted += 1;
        expect(path).toMatch(/^\/(?![/\\])[\x21-\x7e]*$/);
        // As a Location header, as a link, and as text put behind the origin.
        expect(new URL(path, corpusOrigin).href).toBe(corpusOrigin + path);
        expect(new URL(path, 'http://127.0.0.1:8080').origin).toBe('http://127.0.0.1:8080');
        expect(parseReturnTo(path, config)).toBe(path);
        expect(decoded(new URL(path, corpusOrigin).pathname)).not.toMatch(/^\/(?:bff|api)(?:\/|$)/);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(500);
  });
});

describe('in Chromium', () => {
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    browser = await launchChromium();
    page = await browser.newPage();
    await page.route(`${corpusOrigin}/`, (route) =>
      route.fulfill({ contentType: 'text/html', body: '<title>x</title>' }),
    );
    await page.goto(`${corpusOrigin}/`);
  });

  afterAll(() => browser.close());

  test('`new URL` and a link agree with what the corpus says of every value', async () => {
    const values = [...hostile, ...acceptable.map(([value]) => value)];
    // As text: the page's types are not those of Node.
    const seen: Array<{ parsed: string; link: string }> =
      await page.evaluate(`${JSON.stringify(values)}.map((value) => {
      const link = document.createElement('a');
      link.setAttribute('href', value);
      let parsed = 'none';
      try { parsed = new URL(value, location.href).origin; } catch {}
      return { parsed, link: link.protocol === ':' ? 'none' : new URL(link.href).origin };
    })`);
    const wrong = values.filter((value, index) => {
      const stays = !leadsAway.includes(value);
      const { parsed, link } = seen[index] ?? { parsed: '', link: '' };
      return (parsed === corpusOrigin) !== stays || (link === corpusOrigin) !== stays;
    });
    expect(wrong).toEqual([]);
  });

  test('a redirect to an accepted value stays on the origin', async () => {
    const visited: string[] = [];
    const listener = await startListener((request, response) => {
      const to = new URL(request.url ?? '/', 'http://localhost').searchParams.get('redirect-to');
      if (to === null) response.end('here');
      else response.writeHead(302, { location: to }).end();
    });
    const origin = `http://localhost:${listener.port}`;
    for (const [value] of acceptable) {
      const to = parseReturnTo(value, { ...config, origin }) ?? 'refused';
      await page.goto(`${origin}/?redirect-to=${encodeURIComponent(to)}`);
      visited.push(page.url());
    }
    await listener.close();
    expect(visited).toEqual(acceptable.map(([, result]) => origin + result));
  });
});
