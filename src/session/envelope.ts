/**
 * Envelopes for sealed sessions that the store keeps while the browser does not have them yet. What is in the envelope is
 * a working cookie, so that whoever can read the store must not be able to use it: it is encrypted once more, under a key
 * of the server's that opens no cookie, and bound to its record (AES-256-GCM, NIST SP 800-38D).
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { deriveKey, deriveKeyId } from './derived-keys.ts';

const ivBytes = 12;
const tagBytes = 16;

export interface Envelopes {
  /** @param record the key of the record that is to hold it */
  wrap(sealed: string, record: string): string;
  /** Undefined for whatever isn't an envelope of ours in its own record. */
  unwrap(envelope: string, record: string): string | undefined;
}

/** @param secrets the first wraps, all unwrap */
export function createEnvelopes(secrets: readonly string[]): Envelopes {
  const keys = secrets.map((secret) => ({
    id: deriveKeyId(secret, 'envelope'),
    key: createSecretKey(deriveKey(secret, 'envelope encryption', 32)),
  }));
  const [wrapping] = keys;
  if (wrapping === undefined) throw new TypeError('Envelopes need a secret.');
  const unwrapping = new Map(keys.map(({ id, key }) => [id, key]));

  return {
    wrap(sealed, record) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', wrapping.key, iv).setAAD(Buffer.from(record));
      const bytes = Buffer.concat([iv, cipher.update(sealed, 'latin1'), cipher.final(), cipher.getAuthTag()]);
      return `e1.${wrapping.id}.${bytes.toString('base64url')}`;
    },

    unwrap(envelope, record) {
      const [, id = '', data = ''] = /^e1\.([0-9a-f]{8})\.([\w-]+)$/.exec(envelope) ?? [];
      const key = unwrapping.get(id);
      const bytes = Buffer.from(data, 'base64url');
      // An envelope has one spelling: the last character may have bits that no byte needs.
      const isCanonical = bytes.toString('base64url') === data;
      if (key === undefined || bytes.length < ivBytes + tagBytes || !isCanonical) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes))
        .setAAD(Buffer.from(record))
        .setAuthTag(bytes.subarray(-tagBytes));
      try {
        const plain = Buffer.concat([decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]);
        return plain.toString('latin1');
      } catch {
        return undefined;
      }
    },
  };
}
