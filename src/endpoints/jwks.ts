/**
 * `GET /bff/jwks.json`: the public keys of this client (RFC 7517 5), with which the provider checks what the client signs.
 * Servers fetch it, and it is the same for everyone.
 */
import type { PublicJwk } from '../config/key-file.ts';
import type { BffContext } from './endpoint.ts';

/** A new key is in force by then at every provider that heeds it; until then old ones stay in the file. */
const maximumAgeSeconds = 60;

export function createJwks(publicKeys: () => Promise<readonly PublicJwk[]>) {
  return async function showKeys(c: BffContext): Promise<Response> {
    const keys = await publicKeys();
    c.header('cache-control', `public, max-age=${maximumAgeSeconds}`);
    return c.json({ keys });
  };
}
