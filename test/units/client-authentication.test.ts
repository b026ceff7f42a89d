/** The credentials of the client: what a provider reads that decodes them, and one that doesn't (RFC 6749 2.3.1). */
import { assert, property, string } from 'fast-check';
import { expect, test } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { createEvents } from '../../src/events.ts';
import { createClientAuthentication } from '../../src/oidc/client-authentication.ts';

const config = resolveConfig({
  origin: 'http://localhost:3000',
  issuer: 'https://login.example.com',
  client: { id: 'app', secret: 'not much of one' },
  secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
});

function credentialsOf(id: string, secret: string): string[] {
  const client = { ...config.client, id, secret };
  const { authenticate } = createClientAuthentication({ ...config, client }, createEvents());
  const headers = new Headers();
  const unused = {} as never;
  authenticate(unused, unused, new URLSearchParams(), headers);
  const [, encoded = ''] = (headers.get('authorization') ?? '').split(' ');
  const pair = Buffer.from(encoded, 'base64').toString();
  const colon = pair.indexOf(':');
  return [pair.slice(0, colon), pair.slice(colon + 1)];
}

function decoded(text: string): string {
  return new URLSearchParams(`x=${text}`).get('x') ?? '';
}

test('a provider that decodes them reads what was configured, whatever it is', () => {
  assert(
    property(string({ unit: 'grapheme', minLength: 1 }), string({ unit: 'binary', minLength: 1 }), (id, secret) => {
      expect(credentialsOf(id, secret).map(decoded)).toEqual([id.toWellFormed(), secret.toWellFormed()]);
    }),
  );
});

test.each(['my-app', 'app.secret_1~2', 'Zm9v/YmFy==', "a*b!c'd(e)@f$g,h"])(
  'a provider that does not decode them reads %s, too',
  (text) => {
    expect(credentialsOf(text, text)).toEqual([text, text]);
  },
);

test('what is special in credentials or in a form is escaped', () => {
  expect(credentialsOf('a:b', 'c d+e%f&g;h"ä')).toEqual(['a%3Ab', 'c+d%2Be%25f%26g%3Bh%22%C3%A4']);
});
