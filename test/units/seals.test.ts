/**
 * Seals are made by iron-webcrypto and opened with `node:crypto`. A second reader may be a second opinion: what one
 * takes for a seal and the other doesn't, or reads differently, would be a hole in one of them. So iron itself is asked
 * about each input here, most of all about those that an attacker, or one who has the key, would think of.
 */
import { createCipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { array, assert, asyncProperty, constantFrom, integer, nat, oneof, string, uint8Array } from 'fast-check';
import { defaults, unseal as ironUnseal } from 'iron-webcrypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { createSealer, type SealPurpose } from '../../src/session/seal.ts';
import { isServable, readSession, type Session } from '../../src/session/session.ts';

const secrets = ['the first secret, which seals', 'another one, which still opens'].map((text) => text.padEnd(40, '.'));
const sealer = createSealer(secrets, 'session');
const keys = secrets.map((secret) => keysOf(secret, 'session'));
const [sealing] = keys;

function keysOf(secret: string, purpose: SealPurpose) {
  const derive = (what: string, length: number) =>
    new Uint8Array(hkdfSync('sha256', secret, 'sallyport', `${purpose} ${what}, version 1`, length));
  return {
    id: Buffer.from(derive('key id', 4)).toString('hex'),
    encryption: derive('encryption', 32),
    integrity: derive('integrity', 32),
  };
}

const options = { ...defaults, decode: (text: string) => text };

/**
 * What iron makes of a seal of ours, in its own format. Its base64 also takes padding, blanks and another alphabet, and
 * its separator is a star: none of these is in a seal of ours, which has one spelling.
 */
async function ironOpens(sealed: string): Promise<string | undefined> {
  const [version, id, iv, data, mac, ...more] = sealed.split('.');
  if (version !== '1' || more.length > 0 || !/^[\w.-]*$/.test(sealed)) return undefined;
  const opening = Object.fromEntries(keys.map((each) => [each.id, each]));
  try {
    return String(await ironUnseal(`Fe26.2*${id}**${iv}*${data}***${mac}`, opening, options));
  } catch {
    return undefined;
  }
}

/** A seal with a good MAC, as only one who has the key can make it. */
function authentic(iv: string, data: string, key = sealing): string {
  const integrity = key?.integrity ?? '';
  const mac = createHmac('sha256', integrity).update(`Fe26.2*${key?.id}**${iv}*${data}*`).digest('base64url');
  return `1.${key?.id}.${iv}.${data}.${mac}`;
}

function encrypted(content: Uint8Array, { padded = true } = {}): { iv: string; data: string } {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', sealing?.encryption ?? '', iv).setAutoPadding(padded);
  const data = Buffer.concat([cipher.update(content), cipher.final()]).toString('base64url');
  return { iv: iv.toString('base64url'), data };
}

/** Both readers' answer. */
async function answerOf(sealed: string): Promise<string | undefined> {
  const answer = sealer.unseal(sealed);
  expect({ sealed, answer }).toEqual({ sealed, answer: await ironOpens(sealed) });
  return answer;
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.split('');

describe('iron and our own reader agree about', () => {
  let sealed = '';

  beforeAll(async () => {
    sealed = await sealer.seal('what was sealed, of 31 characters');
  });

  test('whatever text was sealed, under each secret', async () => {
    const [, older = ''] = secrets;
    const former = createSealer([older], 'session');
    const text = oneof(
      string({ unit: 'binary' }),
      string({ unit: 'binary-ascii', maxLength: 5000 }),
      array(constantFrom('\u0000', '\u007f', '\u0080', 'é', '\ufeff', '\ufffd', '\ud800', '\u{1f600}')).map((all) =>
        all.join(''),
      ),
    );
    await assert(
      asyncProperty(text, constantFrom(sealer, former), async (content, by) => {
        // Text as bytes say it: without a mark at its beginning, and without halves of characters.
        const expected = new TextDecoder().decode(new TextEncoder().encode(content));
        expect(await answerOf(await by.seal(content))).toBe(expected);
      }),
      { numRuns: 200 },
    );
  });

  test('each bit flipped, in each character', async () => {
    const last = sealed.length - 1;
    const opened: number[] = [];
    for (let at = 0; at <= last; at++)
      for (let bit = 1; bit <= 128; bit *= 2) {
        const flipped = String.fromCharCode(sealed.charCodeAt(at) ^ bit);
        if ((await answerOf(sealed.slice(0, at) + flipped + sealed.slice(at + 1))) !== undefined) opened.push(at);
      }
    // Two bits of the last character aren't the MAC's.
    expect(opened.filter((at) => at !== last)).toEqual([]);
  });

  test('each other last character of the MAC, of which four carry the same bits', async () => {
    const opened: (string | undefined)[] = [];
    for (const character of alphabet) opened.push(await answerOf(sealed.slice(0, -1) + character));
    expect(opened.filter((text) => text !== undefined)).toHaveLength(4);
  });

  test('each truncation, at both ends and in the middle', async () => {
    for (let at = 0; at < sealed.length; at++) {
      expect(await answerOf(sealed.slice(0, at))).toBeUndefined();
      expect(await answerOf(sealed.slice(at + 1))).toBeUndefined();
      expect(await answerOf(sealed.slice(0, at) + sealed.slice(at + 1))).toBeUndefined();
    }
  });

  test('each extension', async () => {
    const opened: string[] = [];
    for (const more of [...alphabet, '.', '=', '==', ' ', '\n', '\0', '+', '/', '*', '%3D', 'é', sealed])
      for (const parts of [more, `.${more}`])
        for (const longer of [sealed + parts, parts + sealed, sealed.replace(/\.(?=[^.]*$)/, () => `${parts}.`)])
          if ((await answerOf(longer)) !== undefined) opened.push(longer);
    expect(opened).toEqual([]);
  });

  test('parts of two seals, swapped and doubled', async () => {
    const one = sealed.split('.');
    const other = (await sealer.seal('something else, just as long as it')).split('.');
    const pick = constantFrom(...one, ...other);
    await assert(
      asyncProperty(
        array(pick, { minLength: 4, maxLength: 6 }),
        async (parts) => void (await answerOf(parts.join('.'))),
      ),
      { numRuns: 500 },
    );
    for (let index = 0; index < 5; index++) {
      const swapped = one.with(index, other[index] ?? '').join('.');
      expect(await answerOf(swapped)).toBe(index < 2 ? 'what was sealed, of 31 characters' : undefined);
    }
  });

  test('the id of another key, of none, and of what objects have by themselves', async () => {
    const [version, , ...rest] = sealed.split('.');
    const ids = [keys[1]?.id, keysOf('of another purpose', 'session').id, '00000000', '', '__proto__', 'toString'];
    for (const id of [...ids, 'constructor', 'default', sealing?.id.toUpperCase()])
      expect(await answerOf([version, id, ...rest].join('.'))).toBeUndefined();
  });

  test('what has a good MAC and no good content', async () => {
    const { iv, data } = encrypted(Buffer.from('a text of some more than one block'));
    const block = encrypted(Buffer.alloc(16, 'x'), { padded: false }).data;
    const badPadding = [0, 17, 255].map((last) => Buffer.alloc(16, last));
    for (const content of [
      '',
      'A',
      'AB',
      'ABC',
      'ABCD',
      data.slice(0, -1),
      data.slice(0, -2),
      `${data}A`,
      `${block}A`,
      `${data}AAAA`,
      data.slice(22),
      ...badPadding.map((bytes) => encrypted(bytes, { padded: false }).data),
    ])
      expect(await answerOf(authentic(iv, content))).toBeUndefined();
    await assert(
      asyncProperty(uint8Array({ maxLength: 80 }), async (bytes) => {
        await answerOf(authentic(iv, Buffer.from(bytes).toString('base64url')));
      }),
      { numRuns: 300 },
    );
  });

  test('bits of the data that no byte has', async () => {
    // 32 bytes are 43 characters, and the last one has two bits to spare.
    const { iv, data } = encrypted(Buffer.from('a text of thirty characters'));
    const opened: (string | undefined)[] = [];
    for (const character of alphabet) opened.push(await answerOf(authentic(iv, data.slice(0, -1) + character)));
    expect(opened.filter((text) => text === 'a text of thirty characters')).toHaveLength(4);
  });

  test('bytes that are no text', async () => {
    const odd = oneof(uint8Array({ maxLength: 64 }), constantFrom(Uint8Array.of(0xef, 0xbb, 0xbf, 0x78)));
    await assert(
      asyncProperty(odd, integer({ min: 0, max: 127 }), async (bytes, ascii) => {
        const content = Buffer.concat([bytes, Buffer.of(ascii)]);
        const { iv, data } = encrypted(content);
        expect(await answerOf(authentic(iv, data))).toBe(new TextDecoder().decode(content));
      }),
      { numRuns: 300 },
    );
  });

  test('any text at all', async () => {
    const part = oneof(string({ unit: constantFrom(...alphabet), maxLength: 60 }), string({ unit: 'binary' }));
    await assert(
      asyncProperty(array(part, { maxLength: 7 }), nat({ max: 2 }), async (parts, known) => {
        const text = [...['1', sealing?.id ?? ''].slice(0, known), ...parts].join('.');
        expect(await answerOf(text)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});

/** Fixed texts, of each version of the packing that there has been. They open for ever. */
const old = JSON.parse(readFileSync(new URL('../support/old-seals.json', import.meta.url), 'utf8')) as {
  readonly secret: string;
  readonly sessions: readonly { readonly title: string; readonly sealed: string; readonly session: Session }[];
  readonly texts: readonly { readonly purpose: SealPurpose; readonly text: string; readonly sealed: string }[];
};

describe('what an earlier version sealed', () => {
  test.each(old.texts)('opens: a $purpose of "$text"', ({ purpose, text, sealed }) => {
    expect(createSealer([old.secret], purpose).unseal(sealed)).toBe(text);
  });

  test.each(old.sessions)('is a session still: $title', ({ sealed, session }) => {
    const read = readSession(createSealer([old.secret], 'session').unseal(sealed) ?? '');
    expect(read).toEqual(session);
    expect(read === undefined ? undefined : isServable(read)).toBe(true);
  });
});
