/**
 * What an error means is one click away: the `type` of every problem (RFC 9457 3.1.1) leads to a paragraph on its code,
 * and so do the pages that a person sees while an app is being set up.
 */
import { describe, expect, test } from 'vitest';
import { errorCodes } from '../../src/http/errors.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { anchors } from '../support/markdown.ts';
import { beginSocket, refusalOf, startSocketWorld } from '../support/web-socket.ts';
import { startWorld, type World } from '../support/world.ts';

/** A problem of each way in which one is sent. */
async function problemsOf(world: World, { api = '/api', base = '/bff' } = {}) {
  const browser = world.client();
  const problem = async (path: string, init = {}) => JSON.parse((await browser.fetch(path, init)).text) as Problem;
  return [
    await problem(`${api}/orders`),
    await problem(`${api}/orders`, { headers: { 'sec-fetch-site': 'cross-site' } }),
    await problem(`${base}/nowhere`),
    await problem(`${base}/session`, { method: 'DELETE' }),
    await problem(`${base}/login`),
    await problem(`${base}/logout?sid=x`),
  ];
}

interface Problem {
  readonly type: string;
  readonly code: string;
}

/** The text of the paragraph to which a problem's type leads. */
async function paragraphAt(browser: BrowserClient, origin: string, type: string): Promise<string> {
  const { pathname, hash } = new URL(type, origin);
  const page = await browser.navigate(pathname);
  expect(page.status).toBe(200);
  const [, paragraph = ''] = new RegExp(`<section id="${hash.slice(1)}">(.*?)</section>`).exec(page.text) ?? [];
  return paragraph;
}

describe('the type of a problem', () => {
  test('leads to what its code means and what to do, on this very server', async () => {
    const world = await startWorld();
    const problems = await problemsOf(world);
    expect(new Set(problems.map(({ code }) => code)).size).toBeGreaterThan(4);
    for (const { type, code } of problems) {
      expect(type).toBe(`/bff/errors#${code}`);
      expect(await paragraphAt(world.client(), world.origin, type)).toContain(`<code>${code}</code>`);
    }
  });

  test('is the same where a WebSocket is refused', async () => {
    const world = await startSocketWorld();
    const refusal = await refusalOf(beginSocket(world, world.client()));
    expect(JSON.parse(refusal.body)).toMatchObject({ code: 'login_required', type: '/bff/errors#login_required' });
  });

  test('follows the paths that are configured', async () => {
    const world = await startWorld({ config: { path: '/shop', basePath: '/auth' } });
    for (const { type, code } of await problemsOf(world, { api: '/shop/api', base: '/shop/auth' })) {
      expect(type).toBe(`/shop/auth/errors#${code}`);
      expect(await paragraphAt(world.client(), world.origin, type)).toContain(`<code>${code}</code>`);
    }
  });

  test.each(['https://docs.example.com/sallyport/errors?lang=en', '/help/errors'])(
    'leads to %s where that is set',
    async (errorDocs) => {
      const world = await startWorld({ config: { errorDocs } });
      for (const { type, code } of await problemsOf(world)) expect(type).toBe(`${errorDocs}#${code}`);
    },
  );
});

describe('the reference', () => {
  test('has a paragraph for every code, and so has the documentation', async () => {
    const world = await startWorld();
    const page = await world.client().navigate('/bff/errors');
    expect([...page.text.matchAll(/<section id="(\w+)">/g)].map(([, id]) => id)).toEqual(errorCodes);
    expect(page.text).not.toContain('`');
    expect(errorCodes.filter((code) => !anchors('docs/http-interface.md').has(code))).toEqual([]);
  });

  test('is for everyone, from anywhere, and sets no cookie', async () => {
    const world = await startWorld();
    const browser = world.client();
    const page = await browser.navigate('/bff/errors', { initiator: 'https://elsewhere.test' });
    expect([page.status, page.setCookies, page.headers['cache-control']]).toEqual([200, [], 'no-store']);
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    expect((await browser.fetch('/bff/errors', { method: 'POST' })).headers['allow']).toBe('GET');
  });
});

describe('the page of an error', () => {
  test('leads to the paragraph on a loopback origin', async () => {
    const world = await startWorld();
    const page = await world.client().navigate('/bff/callback?state=x&code=y');
    expect(page.text).toContain('<a href="/bff/errors#login_transaction_invalid">What does this mean?</a>');
    const elsewhere = await startWorld({ config: { errorDocs: 'https://docs.example.com/?a&b' } });
    const other = await elsewhere.client().navigate('/bff/nowhere');
    expect(other.text).toContain('href="https://docs.example.com/?a&#38;b#route_not_found"');
  });

  test('does not in production, whose people cannot mend it', async () => {
    const world = await startWorld({ origin: 'https://app.example.test' });
    const page = await world.client().navigate('/bff/nowhere');
    expect(page.status).toBe(404);
    expect(page.text).not.toContain('/bff/errors');
  });
});
