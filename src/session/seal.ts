/**
 * Seals texts with iron (AES-256-CBC, HMAC-SHA256) under keys derived per purpose by HKDF (RFC 5869), so that a
 * seal of one purpose never opens as another. A seal is `1.<key id>.<iv>.<data>.<mac>`: iron's own format without its
 * constant parts, 8 characters shorter; the leading digit is the version of this format. The one importer of
 * iron-webcrypto.
 *
 * iron makes the seals. They are opened here with `node:crypto`, because iron imports the keys and waits for other
 * threads four times a seal: 200 us of CPU and more, where this takes 20. A test holds both readers to the same answers.
 */
import { isAscii } from 'node:buffer';
import { createDecipheriv, createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { defaults, seal as ironSeal } from 'iron-webcrypto';
import { deriveKey, deriveKeyId } from './derived-keys.ts';

/** What a seal is for; each has keys of its own. */
export type SealPurpose =
  'session' | 'session details' | 'login transaction' | 'login state' | 'logout ticket' | 'logout return';

export interface Sealer {
  /** Seals 7-bit text. */
  seal(text: string): Promise<string>;
  /** Whether a text has the form of a seal under one of the keys. What has it costs an attempt to open. */
  mayOpen(sealed: string): boolean;
  /** Opens a seal; undefined for whatever isn't one of ours: tampered, cut, of an unknown key or version. */
  unseal(sealed: string): string | undefined;
}

const shape = /^1\.([0-9a-f]{8})\.([\w-]{22})\.([\w-]+)\.([\w-]{43})$/;

/** Whether a text begins like a seal of ours, of whatever version and key, whole or cut. */
export function looksSealed(text: string): boolean {
  return /^\d\.[0-9a-f]{8}\.[\w.-]*$/.test(text);
}

/** @param secrets the first seals, all unseal */
export function createSealer(secrets: readonly string[], purpose: SealPurpose): Sealer {
  return createSealerWith(
    secrets.map((secret) => {
      const keys = deriveKeys(secret, purpose);
      return { id: keys.id, derive: () => keys };
    }),
  );
}

/** The keys of one secret, which are derived when a seal needs them. */
export interface KeySource {
  /** Eight hexadecimal digits, which stand in the seals. */
  readonly id: string;
  readonly derive: () => SealKeys;
}

export interface SealKeys {
  /** 32 bytes, for AES-256. */
  readonly encryption: Uint8Array;
  /** 32 bytes, for HMAC-SHA256. */
  readonly integrity: Uint8Array;
}

/** @param sources the first seals, all unseal */
export function createSealerWith(sources: readonly KeySource[]): Sealer {
  const [first] = sources;
  if (first === undefined) throw new TypeError('A sealer needs a secret.');
  const opening = new Map(sources.map(({ id, derive }) => [id, once(() => openingKeys(derive()))]));
  const options = { ...defaults, encode: (text: unknown) => String(text) };

  return {
    mayOpen: (sealed) => opening.has(shape.exec(sealed)?.[1] ?? ''),

    async seal(text) {
      const [, id, , iv, data, , , mac] = (await ironSeal(text, { id: first.id, ...first.derive() }, options)).split(
        '*',
      );
      return `1.${id}.${iv}.${data}.${mac}`;
    },

    unseal(sealed) {
      const [, id = '', iv = '', data = '', mac = ''] = shape.exec(sealed) ?? [];
      const keys = opening.get(id)?.();
      // The MAC is of the text in iron's format.
      if (keys === undefined || !isMacOf(`Fe26.2*${id}**${iv}*${data}*`, mac, keys.integrity)) return undefined;
      return decrypt(data, iv, keys.encryption);
    },
  };
}

function deriveKeys(secret: string, purpose: SealPurpose) {
  return {
    id: deriveKeyId(secret, purpose),
    encryption: deriveKey(secret, `${purpose} encryption`, 32),
    integrity: deriveKey(secret, `${purpose} integrity`, 32),
  };
}

interface OpeningKeys {
  readonly encryption: KeyObject;
  readonly integrity: KeyObject;
}

/** As key objects, because from bytes node makes one for each use: 15 us each. */
function openingKeys({ encryption, integrity }: SealKeys): OpeningKeys {
  return { encryption: createSecretKey(encryption), integrity: createSecretKey(integrity) };
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

/** @param mac in base64url, of the length of a SHA-256 */
function isMacOf(text: string, mac: string, key: KeyObject): boolean {
  const expected = createHmac('sha256', key).update(text, 'latin1').digest();
  return timingSafeEqual(expected, Buffer.from(mac, 'base64url'));
}

/**
 * Decrypts what was authentic. What isn't decipherable then was made by somebody who has the key, and gives the same
 * result as a bad MAC, so that an attacker learns nothing from the difference.
 */
function decrypt(data: string, iv: string, key: KeyObject): string | undefined {
  // A remainder of one character encodes no byte. Buffer would pass over it.
  if (data.length % 4 === 1) return undefined;
  const decipher = createDecipheriv('aes-256-cbc', key, Buffer.from(iv, 'base64url'));
  try {
    const blocks = [decipher.update(Buffer.from(data, 'base64url')), decipher.final()];
    return blocks.every((bytes) => isAscii(bytes))
      ? blocks.map((bytes) => bytes.toString('latin1')).join('')
      : new TextDecoder().decode(Buffer.concat(blocks));
  } catch {
    return undefined;
  }
}
