/** The security headers of an app's pages. */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { contentSecurityPolicy, type CspAdditions } from '../../src/spa/content-security-policy.ts';
import { inlineHashes, noInlineHashes, type InlineHashes } from '../../src/spa/inline-hashes.ts';
import { securityHeaders } from '../../src/spa/security-headers.ts';
import type { HeaderOverrides } from '../../src/spa/security-headers.ts';
import { indexHtml, navigate, origin, useSpaFolder } from '../support/spa-folder.ts';

const { openFiles, put, spa } = useSpaFolder();

/** The CSP source expression for an inline script or style. */
function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

describe('security headers', () => {
  test('go with documents, assets, 304s, redirects and unsatisfiable ranges', async () => {
    await put('app.js', 'x');
    await put('docs/index.html', 'x');
    const fetch = spa();
    for (const [path, headers] of [
      ['/', {}],
      ['/app.js', {}],
      ['/', { 'If-None-Match': '*' }],
      ['/docs', {}],
      ['/app.js', { Range: 'bytes=9-' }],
    ] as const) {
      const response = await fetch(path, { headers: headers as Record<string, string> });
      await response.body?.cancel();
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-security-policy': expect.stringContaining("default-src 'self'; script-src 'self';"),
        'strict-transport-security': 'max-age=63072000',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'strict-origin-when-cross-origin',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'permissions-policy': expect.stringContaining('camera=()'),
      });
    }
  });

  test('allow nothing inline, no plug-ins, no frames and no foreign base', () => {
    const policy = new Map(securityHeaders({ origin })).get('content-security-policy');
    expect(policy?.split('; ')).toEqual([
      "default-src 'self'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data: blob:",
      "font-src 'self' data:",
      "connect-src 'self'",
      "object-src 'none'",
      "base-uri 'self'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ]);
  });

  test('leave HSTS out on http:, where localhost would otherwise be locked to TLS', () => {
    expect(new Map(securityHeaders({ origin: 'http://localhost:3000' })).has('strict-transport-security')).toBe(false);
  });

  test('are replaced, removed and added to in any case of letters', async () => {
    const headers: HeaderOverrides = {
      'Content-Security-Policy': "default-src 'none'",
      'x-frame-options': false,
      'X-Team': 'blue',
    };
    const response = await spa({ headers })('/', { method: 'HEAD' });
    expect(response.headers.get('content-security-policy')).toBe("default-src 'none'");
    expect(response.headers.has('x-frame-options')).toBe(false);
    expect(response.headers.get('x-team')).toBe('blue');
  });

  test('let exactly the inline scripts and styles of the document run', async () => {
    const script = "document.documentElement.dataset.theme = 'dark'\n";
    const style = 'body { background: #111 }';
    await put(
      'index.html',
      `<style>${style}</style><SCRIPT data-x>${script.replace('\n', '\r\n')}</SCRIPT>${indexHtml}`,
    );
    await put('app.js', 'x');
    const fetch = spa();
    const policyOf = async (path: string): Promise<string> =>
      (await fetch(path, { method: 'HEAD' })).headers.get('content-security-policy') ?? '';

    expect(await policyOf('/')).toContain(`; script-src 'self' ${hashOf(script)}; style-src 'self' ${hashOf(style)};`);
    expect(await policyOf('/app.js')).toContain("; script-src 'self'; style-src 'self';");

    await put('index.html', '<script>changed()</script>');
    expect(await policyOf('/')).toContain(`; script-src 'self' ${hashOf('changed()')}; style-src 'self';`);
  });

  test('hash no script that is loaded, and none that is empty', () => {
    expect(
      inlineHashes(
        '<script src="/a.js">x</script><script\nSRC = "b.js">y</script><script></script><p style="" onclick>',
      ),
    ).toEqual({ scripts: [], styles: [], handlers: [], styleAttributes: [] });
  });

  test('let the document’s own event handlers and style attributes work, and none of its scripts as a handler', async () => {
    await put(
      'index.html',
      `<link rel="stylesheet" href="a.css" media="print" onload="this.media='all'"><script>theme()</script>` +
        `<body STYLE='color: red' onLoad="say(&quot;&#104;i&#x21;&quot;)"><i style=margin:0>`,
    );
    const policy = (await spa()('/', { method: 'HEAD' })).headers.get('content-security-policy') ?? '';
    expect(policy.split('; ').slice(-2)).toEqual([
      `script-src-attr 'unsafe-hashes' ${hashOf("this.media='all'")} ${hashOf('say("hi!")')}`,
      `style-src-attr 'unsafe-hashes' ${hashOf('color: red')} ${hashOf('margin:0')}`,
    ]);
    expect(policy).toContain(`script-src 'self' ${hashOf('theme()')};`);
  });

  test('take nothing for an attribute that stands in a comment, a script or a text', () => {
    const html =
      `<!-- <p onclick="a()"> --><script>x = '<p onclick="b()">'</script><p title='<i onclick="c()">'>onclick="d()"` +
      `<p data-onclick="e()" title=">">`;
    expect(inlineHashes(html)).toMatchObject({ handlers: [], styleAttributes: [] });
  });
});

/** The directives of the policy with these additions, for a document with own code. */
function directivesWith(csp: CspAdditions, inline?: Partial<InlineHashes>, nonce?: string): Map<string, string> {
  const policy = contentSecurityPolicy(csp, { inline: { ...noInlineHashes, ...inline }, nonce });
  return new Map(policy.split('; ').map((directive) => [directive.split(' ', 1)[0] ?? '', directive]));
}

describe('what the operator adds to the policy', () => {
  const inline = { scripts: ["'sha256-s'"], styles: ["'sha256-t'"] };

  test('stands beside what the directive allows, and keeps the hashes', () => {
    const csp = { 'connect-src': ['https://maps.example.com', "'self'"], 'script-src': ['https://cdn.test'] };
    const directives = directivesWith(csp, inline);
    expect(directives.get('connect-src')).toBe("connect-src 'self' https://maps.example.com");
    expect(directives.get('script-src')).toBe("script-src 'self' https://cdn.test 'sha256-s'");
    expect(directives.get('style-src')).toBe("style-src 'self' 'sha256-t'");
    expect(directives.get('default-src')).toBe("default-src 'self'");
  });

  test('takes the place of a default that allows nothing', () => {
    const csp = { 'frame-ancestors': ['https://portal.test'], 'object-src': ["'self'"] };
    const directives = directivesWith(csp);
    expect(directives.get('frame-ancestors')).toBe('frame-ancestors https://portal.test');
    expect(directives.get('object-src')).toBe("object-src 'self'");
  });

  test('allows a frame that X-Frame-Options would refuse', () => {
    const headers = new Map(securityHeaders({ origin, csp: { 'frame-ancestors': ["'self'"] } }));
    expect(headers.has('x-frame-options')).toBe(false);
    expect(new Map(securityHeaders({ origin })).get('x-frame-options')).toBe('DENY');
  });

  test('allows nothing where it is ’none’', () => {
    const directives = directivesWith({ 'font-src': ["'none'"], 'script-src': ["'none'"] }, inline, 'abc');
    expect(directives.get('font-src')).toBe("font-src 'none'");
    expect(directives.get('script-src')).toBe("script-src 'none'");
  });

  test('begins with what counted before, where the directive had no default', () => {
    const csp = {
      'worker-src': ['blob:'],
      'frame-src': ['https://pay.test'],
      'default-src': ['https://cdn.test'],
      'script-src-elem': ['https://tags.test'],
      'upgrade-insecure-requests': [],
      'report-uri': ['/reports'],
    };
    const directives = directivesWith(csp, inline, 'abc');
    expect(directives.get('worker-src')).toBe("worker-src 'self' blob:");
    expect(directives.get('frame-src')).toBe("frame-src 'self' https://cdn.test https://pay.test");
    expect(directives.get('script-src-elem')).toBe("script-src-elem 'self' https://tags.test 'sha256-s' 'nonce-abc'");
    expect(directives.get('upgrade-insecure-requests')).toBe('upgrade-insecure-requests');
    expect(directives.get('report-uri')).toBe('report-uri /reports');
  });

  test('’unsafe-inline’ has its effect: browsers ignore it beside a hash or a nonce', () => {
    const attributes = { handlers: ["'sha256-h'"], styleAttributes: ["'sha256-a'"] };
    const directives = directivesWith({ 'style-src': ["'unsafe-inline'"] }, { ...inline, ...attributes }, 'abc');
    expect(directives.get('style-src')).toBe("style-src 'self' 'unsafe-inline'");
    expect(directives.has('style-src-attr')).toBe(false);
    expect(directives.get('script-src')).toBe("script-src 'self' 'sha256-s' 'nonce-abc'");
    expect(directives.get('script-src-attr')).toBe("script-src-attr 'unsafe-hashes' 'sha256-h'");
    const strict = directivesWith({ 'script-src': ["'strict-dynamic'", "'unsafe-inline'"] }, inline, 'abc');
    expect(strict.get('script-src')).toContain("'nonce-abc'");
    const ofAttributes = directivesWith({ 'style-src-attr': ["'unsafe-inline'"] }, { ...inline, ...attributes });
    expect(ofAttributes.get('style-src-attr')).toBe("style-src-attr 'unsafe-inline'");
    expect(ofAttributes.get('style-src')).toBe("style-src 'self' 'sha256-t'");
  });
});

describe('a document with a placeholder for a nonce', () => {
  const nonce = '{{csp_nonce}}';
  const built =
    `<!doctype html><meta property="csp-nonce" nonce="${nonce}"><app-root ngCspNonce='${nonce}'></app-root>` +
    `<script nonce="${nonce}">start()</script><script>window.nonce = "${nonce}"</script>${indexHtml}`;

  beforeEach(() => put('index.html', built));

  test('has a fresh one in each response, in all places and in the policy', async () => {
    const fetch = spa({ nonce });
    const nonces = new Set<string>();
    for (const path of ['/', '/', '/orders/42']) {
      const response = await fetch(path, navigate);
      const [, fresh = ''] = /ngCspNonce='([\w-]{22})'/.exec(await response.clone().text()) ?? [];
      nonces.add(fresh);
      expect(await response.text()).toBe(built.replaceAll(nonce, fresh));
      const policy = response.headers.get('content-security-policy') ?? '';
      const hashes = `${hashOf('start()')} ${hashOf(`window.nonce = "${fresh}"`)}`;
      expect(policy).toContain(`; script-src 'self' ${hashes} 'nonce-${fresh}'; style-src 'self' 'nonce-${fresh}';`);
      expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    }
    expect(nonces.size).toBe(3);
  });

  test('is stored nowhere, and has no validators, no ranges and no packed form', async () => {
    await put('index.html.br', 'packed, with the placeholder in it');
    const response = await spa({ nonce })('/', {
      headers: { 'Accept-Encoding': 'br', 'If-None-Match': '*', Range: 'bytes=0-9' },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    for (const name of ['etag', 'last-modified', 'accept-ranges', 'content-range', 'content-encoding', 'vary']) {
      expect([name, response.headers.get(name)]).toEqual([name, null]);
    }
    expect((await response.text()).length).toBe(Number(response.headers.get('content-length')));
  });

  test('answers HEAD in the same way, without the document', async () => {
    const response = await spa({ nonce })('/', { method: 'HEAD' });
    expect([response.status, response.body]).toEqual([200, null]);
    expect(response.headers.get('content-security-policy')).toMatch(/'nonce-[\w-]{22}'/);
    expect(response.headers.get('content-length')).toBe(String(built.replaceAll(nonce, 'x'.repeat(22)).length));
  });

  test('is noticed when it is deployed anew, and leaves no file open', async () => {
    const fetch = spa({ nonce });
    await fetch('/');
    await put('index.html', `<p title="${nonce}">new`);
    expect(await (await fetch('/')).text()).toMatch(/^<p title="[\w-]{22}">new$/);
    await put('index.html', '<p>without');
    const plain = await fetch('/');
    expect(await plain.text()).toBe('<p>without');
    expect(plain.headers.get('etag')).not.toBeNull();
    expect(plain.headers.get('content-security-policy')).not.toContain('nonce-');
    expect(openFiles()).toEqual([]);
  });

  test('is served as it is without the option, and other files always are', async () => {
    expect(await (await spa()('/')).text()).toBe(built);
    await put('app.js', `use("${nonce}")`);
    expect(await (await spa({ nonce })('/app.js')).text()).toBe(`use("${nonce}")`);
  });

  test('takes nothing of the request into the document', async () => {
    const response = await spa({ nonce })(`/${encodeURIComponent(nonce)}?x=${nonce}`, navigate);
    const text = await response.text();
    const [, fresh = ''] = /ngCspNonce='([\w-]{22})'/.exec(text) ?? [];
    expect(text).toBe(built.replaceAll(nonce, fresh));
  });
});
