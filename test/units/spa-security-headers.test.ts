/** The security headers of an app's pages. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { inlineHashes, securityHeaders } from '../../src/spa/security-headers.ts';
import type { HeaderOverrides } from '../../src/spa/security-headers.ts';
import { indexHtml, origin, useSpaFolder } from '../support/spa-folder.ts';

const { put, spa } = useSpaFolder();

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
        'strict-transport-security': 'max-age=63072000; includeSubDomains',
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
      "img-src 'self' data:",
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
    expect(inlineHashes('<script src="/a.js">x</script><script\nSRC = "b.js">y</script><script></script>')).toEqual({
      scripts: [],
      styles: [],
    });
  });
});
