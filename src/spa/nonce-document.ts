/**
 * Documents into which a build has written a placeholder for a nonce (`ngCspNonce`, Vite's `html.cspNonce`): each response
 * has a fresh one in its place, and in its Content-Security-Policy. No cache may keep such a response, whose nonce would
 * then be known; so it has no validators, no ranges and no precompressed form.
 */
import { randomBytes } from 'node:crypto';
import { inlineHashes } from './inline-hashes.ts';
import { securityHeaders, type SecurityHeaderOptions } from './security-headers.ts';

/** 128 bits (CSP 3 7.1). */
const nonceBytes = 16;

/**
 * The placeholder is replaced in what the build has written and nowhere else: nothing of a request is part of a document.
 * @param built the document with the placeholder
 * @returns makes a response; undefined if the document holds no placeholder
 */
export function nonceDocument(
  built: string,
  placeholder: string,
  policy: SecurityHeaderOptions,
): ((method: string) => Response) | undefined {
  if (!built.includes(placeholder)) return undefined;
  return (method) => {
    // Also part of a URL or a script as it is, whatever quotation marks stand around it.
    const nonce = randomBytes(nonceBytes).toString('base64url');
    const html = built.replaceAll(placeholder, nonce);
    const body = Buffer.from(html);
    const headers = new Headers({
      'cache-control': 'no-store',
      'content-type': 'text/html; charset=utf-8',
      'content-length': String(body.length),
    });
    for (const [name, value] of securityHeaders({ ...policy, inline: inlineHashes(html), nonce })) {
      headers.set(name, value);
    }
    return new Response(method === 'HEAD' ? null : body, { headers });
  };
}
