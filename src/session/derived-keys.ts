/** Keys made of a sealing secret by HKDF (RFC 5869): one for each use, so that what one made opens nowhere else. */
import { hkdfSync } from 'node:crypto';

/**
 * @param use what the key is for; part of the formats, so that a change needs a new version there
 * @param length in bytes
 */
export function deriveKey(secret: string, use: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'sallyport', `${use}, version 1`, length));
}

/** Eight hexadecimal digits that tell which secret made a key, and nothing of it. */
export function deriveKeyId(secret: string, use: string): string {
  return deriveKey(secret, `${use} key id`, 4).toString('hex');
}
