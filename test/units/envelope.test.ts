/** Envelopes open in their own record only, and only as they were made. */
import { expect, test } from 'vitest';
import { createEnvelopes } from '../../src/session/envelope.ts';

const secrets = ['a sealing secret of more than 32 characters', 'an older secret of more than 32 characters'];
const sealed = `1.0123abcd.${'x'.repeat(2000)}`;

test('an envelope gives back what is in it, under each secret, and never looks the same twice', () => {
  const envelopes = createEnvelopes(secrets);
  const envelope = envelopes.wrap(sealed, 'record');
  expect(envelope).not.toContain(sealed.slice(0, 20));
  expect(envelopes.wrap(sealed, 'record')).not.toBe(envelope);
  expect(envelopes.unwrap(envelope, 'record')).toBe(sealed);
  const rotated = createEnvelopes(secrets.toReversed());
  expect(rotated.unwrap(envelope, 'record')).toBe(sealed);
  expect(createEnvelopes(secrets.slice(1)).unwrap(envelope, 'record')).toBeUndefined();
});

test('nothing else opens: another record, any changed character, any cut', () => {
  const envelopes = createEnvelopes(secrets);
  const envelope = envelopes.wrap('sealed', 'record');
  expect(envelopes.unwrap(envelope, 'another')).toBeUndefined();
  for (let at = 0; at < envelope.length; at += 1) {
    const other = envelope[at] === 'A' ? 'B' : 'A';
    const changed = envelope.slice(0, at) + other + envelope.slice(at + 1);
    expect(envelopes.unwrap(changed, 'record')).toBeUndefined();
    expect(envelopes.unwrap(envelope.slice(0, at), 'record')).toBeUndefined();
  }
  for (const text of ['', 'e1.', 'e1.00000000.AAAA', sealed]) expect(envelopes.unwrap(text, 'record')).toBeUndefined();
});
