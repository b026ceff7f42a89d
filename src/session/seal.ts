/**
 * Seals texts with iron (AES-256-CBC, HMAC-SHA256) under keys derived per purpose by HKDF (RFC 5869), so that a
 * seal of one purpose never opens as another. A seal is `1.<key id>.<iv>.<data>.<mac>`: iron's own format without its
 * constant parts, 8 characters shorter; the leading digit is the version of this format. The one importer of
 * iron-webcrypto.
 */
import { hkdfSync } from 'node:crypto';
import { defaults, seal as ironSeal, unseal as ironUnseal } from 'iron-webcrypto';

/** What a seal is for; each has keys of its own. */
export type SealPurpose = 'session' | 'login transaction' | 'login state' | 'logout ticket' | 'logout return';

export interface Sealer {
  /** Seals 7-bit text. */
  seal(text: string): Promise<string>;
  /** Whether a text has the form of a seal under one of the keys. What has it costs an attempt to open. */
  mayOpen(sealed: string): boolean;
  /** Opens a seal; undefined for whatever isn't one of ours: tampered, cut, of an unknown key or version. */
  unseal(sealed: string): Promise<string | undefined>;
}

const shape = /^1\.([0-9a-f]{8})\.([\w-]{22})\.([\w-]+)\.([\w-]{43})$/;

/** Whether a text begins like a seal of ours, of whatever version and key, whole or cut. */
export function looksSealed(text: string): boolean {
  return /^\d\.[0-9a-f]{8}\.[\w.-]*$/.test(text);
}

/** @param secrets the first seals, all unseal */
export function createSealer(secrets: readonly string[], purpose: SealPurpose): Sealer {
  const keys = secrets.map((secret) => deriveKeys(secret, purpose));
  const [sealing] = keys;
  if (sealing === undefined) throw new TypeError('A sealer needs a secret.');
  const opening = Object.fromEntries(keys.map((key) => [key.id, key]));
  const options = {
    ...defaults,
    encode: (text: unknown) => String(text),
    decode: (text: string) => text,
  };

  return {
    mayOpen: (sealed) => Object.hasOwn(opening, shape.exec(sealed)?.[1] ?? ''),

    async seal(text) {
      const [, id, , iv, data, , , mac] = (await ironSeal(text, sealing, options)).split('*');
      return `1.${id}.${iv}.${data}.${mac}`;
    },

    async unseal(sealed) {
      const [, id = '', iv, data, mac] = shape.exec(sealed) ?? [];
      if (!Object.hasOwn(opening, id)) return undefined;
      try {
        return String(await ironUnseal(`Fe26.2*${id}**${iv}*${data}***${mac}`, opening, options));
      } catch {
        // A bad MAC and bad padding give the same result, so that an attacker learns nothing from the difference.
        return undefined;
      }
    },
  };
}

function deriveKeys(secret: string, purpose: SealPurpose) {
  const derive = (what: string, length: number) =>
    new Uint8Array(hkdfSync('sha256', secret, 'sallyport', `${purpose} ${what}, version 1`, length));
  return {
    id: Buffer.from(derive('key id', 4)).toString('hex'),
    encryption: derive('encryption', 32),
    integrity: derive('integrity', 32),
  };
}
