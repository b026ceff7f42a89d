/**
 * What a provider says when it refuses: an error code, a description and the address of a page about it (RFC 6749
 * 4.1.2.1, 5.2; RFC 6750 3). It is for the operator's log, and never for a page. Some providers quote what they were
 * sent, so the secrets of a call are cut from its error response before anything else sees that.
 */
import * as client from 'openid-client';
import { legible } from './legible.ts';

/** An answer of the provider that says no, and why. Holds text to be logged. */
export class ProviderRefusal extends Error {
  /** The error code; providers have more of them than the specifications. */
  readonly error: string;
  readonly description: string | undefined;
  readonly uri: string | undefined;

  constructor({ error, error_description: description, error_uri: uri }: WireRefusal, cause?: unknown) {
    super('The provider refuses.', cause === undefined ? undefined : { cause });
    this.name = 'ProviderRefusal';
    this.error = legible(error) ?? 'no error code';
    this.description = legible(description);
    this.uri = legible(uri);
  }
}

interface WireRefusal {
  readonly error?: unknown;
  readonly error_description?: unknown;
  readonly error_uri?: unknown;
}

/** The refusal that an authorization response is. */
export function authorizationRefusal(parameters: URLSearchParams): ProviderRefusal {
  return new ProviderRefusal(Object.fromEntries(parameters));
}

/** The error of a call to the provider, with the provider's own words before it, where it gave any. */
export async function withProvidersWords(error: unknown): Promise<unknown> {
  const wire = (await refusalInBody(error)) ?? refusalInChallenge(error);
  return wire === undefined ? error : new ProviderRefusal(wire, error);
}

/** The body counts, whatever headers stand beside it (RFC 6749 5.2). */
async function refusalInBody(failure: unknown): Promise<WireRefusal | undefined> {
  if (failure instanceof client.ResponseBodyError) return failure.cause;
  const response = responseOf(failure);
  if (response === undefined || response.ok || response.bodyUsed) return undefined;
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  return isRefusal(body) ? body : undefined;
}

function refusalInChallenge(error: unknown): WireRefusal | undefined {
  if (!(error instanceof client.WWWAuthenticateChallengeError)) return undefined;
  return error.cause.map(({ parameters }) => parameters).find(isRefusal);
}

function isRefusal(value: unknown): value is WireRefusal {
  return value instanceof Object && ('error' in value || 'error_description' in value);
}

/** The provider's response behind an error, if there was one. */
export function responseOf(error: unknown): Response | undefined {
  if (error instanceof ProviderRefusal) return responseOf(error.cause);
  if (!(error instanceof Error)) return undefined;
  const response = 'response' in error ? error.response : error.cause;
  return response instanceof Response ? response : undefined;
}

/** The parameters of a call that no log may hold (RFC 6749, RFC 7009, RFC 7523, RFC 7636, RFC 8693). */
const secretParameters = [
  'code',
  'code_verifier',
  'refresh_token',
  'token',
  'subject_token',
  'actor_token',
  'client_secret',
  'client_assertion',
];

/** In an error code or a challenge a shorter secret is not cut: it may be a word of theirs, which decides what is done. */
const minimumDistinctLength = 16;

/** A fetch whose error responses don't quote what the call was authenticated with, nor the tokens that it sent. */
export function withoutQuotedSecrets(fetch: client.CustomFetch): client.CustomFetch {
  return async (url, options) => {
    const response = await fetch(url, options);
    return response.ok ? response : cutSecrets(response, secretsOf(options));
  };
}

function secretsOf({ body, headers }: client.CustomFetchOptions): string[] {
  const form = new URLSearchParams(typeof body === 'string' || body instanceof URLSearchParams ? body : '');
  const sent = secretParameters.map((name) => form.get(name) ?? '');
  const [scheme = '', credentials = ''] = (new Headers(headers).get('authorization') ?? '').split(' ');
  const pair = scheme.toLowerCase() === 'basic' ? Buffer.from(credentials, 'base64').toString() : '';
  const password = pair.slice(pair.indexOf(':') + 1);
  return [...sent, credentials, pair, password, formDecoded(password)].filter((secret) => secret !== '');
}

/** Clients encode their password before it becomes a part of Basic credentials (RFC 6749 2.3.1). */
function formDecoded(text: string): string {
  return new URLSearchParams(`x=${text}`).get('x') ?? '';
}

async function cutSecrets(response: Response, secrets: readonly string[]): Promise<Response> {
  const distinct = secrets.filter(({ length }) => length >= minimumDistinctLength);
  const headers = new Headers(response.headers);
  const challenge = headers.get('www-authenticate');
  if (challenge !== null) headers.set('www-authenticate', cut(challenge, distinct));
  // These describe the bytes that were received.
  headers.delete('content-encoding');
  headers.delete('content-length');
  const body = await response.text();
  return new Response(body === '' ? null : cutInJson(body, secrets, distinct), { status: response.status, headers });
}

/** A text that is no JSON stays as it is: nobody logs it. */
function cutInJson(json: string, secrets: readonly string[], distinct: readonly string[]): string {
  try {
    return JSON.stringify(
      JSON.parse(json, (name, value: unknown) =>
        typeof value === 'string' ? cut(value, name === 'error' ? distinct : secrets) : value,
      ),
    );
  } catch {
    return json;
  }
}

function cut(text: string, secrets: readonly string[]): string {
  const spellings = secrets.flatMap((secret) => [secret, encodeURIComponent(secret)]);
  return spellings.reduce((rest, spelling) => rest.replaceAll(spelling, '[cut]'), text);
}
