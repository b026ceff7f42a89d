/** How Sallyport authenticates itself to the provider (RFC 6749 2.3.1; OpenID Connect Core 9). */
import { ClientSecretPost, type ClientAuth } from 'openid-client';
import type { Config } from '../config/config.ts';

export function clientAuthentication({ id, secret, authMethod }: Config['client']): ClientAuth {
  if (authMethod === 'client_secret_post') return ClientSecretPost(secret);
  const credentials = Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64');
  return (_server, _client, _body, headers) => headers.set('authorization', `Basic ${credentials}`);
}

/**
 * Id and secret are form-encoded before they become Basic credentials (RFC 6749 2.3.1), and some providers don't decode
 * them. So this escapes only what a decoder would read as something else; openid-client also escapes `-`, `.` and `_`.
 */
function formEncoded(text: string): string {
  return text.replace(/[^A-Za-z0-9\-._~!*'()/=@$,]/gu, (character) =>
    character === ' ' ? '+' : encodeURIComponent(character),
  );
}
