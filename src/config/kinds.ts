/**
 * The kinds of values that the schema is built from: durations, sizes, ports, addresses, secrets. Each refuses a wrong
 * value with a message that names what is expected.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { parseRedisUrl, RedisUrlFault } from './redis-url.ts';

/** A duration in seconds; fractions are allowed. */
export function seconds(minimum: number, maximum: number) {
  return z
    .number('must be a number of seconds')
    .min(minimum, `must be at least ${minimum} seconds`)
    .max(maximum, `must be at most ${maximum} seconds`);
}

export const bytes = z.int('must be a whole number of bytes').min(0, 'must not be negative');
export const port = z.int('must be a port number').min(0, 'must be 0 to 65535').max(65535, 'must be 0 to 65535');
export const text = z.string('must be a text').min(1, 'must not be empty');
export const flag = z.boolean('must be true or false');

/** Whether a text is a host, maybe with a port and a path: an address whose scheme was forgotten. */
export function lacksScheme(text: string): boolean {
  return /^(?:localhost|[\w-]+(?:\.[\w-]+)+|[\w-]+(?=:\d)|\[[\da-f:.]+\])(?::\d+)?(?:\/|$)/i.test(text);
}

function schemeHint(text: string): string {
  return lacksScheme(text) ? '; begin it with "http://" or "https://"' : '';
}

/** An http or https URL that holds no credentials or fragment, and a query only where it may. */
export function httpUrl(what: string, query: 'with a query' | 'without query' = 'without query') {
  return z.string(`must be ${what}`).superRefine((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
      context.addIssue({ code: 'custom', message: `must be ${what}${schemeHint(value)}` });
    } else if (url.username !== '' || url.password !== '') {
      context.addIssue({ code: 'custom', message: 'must not hold a user name or password' });
    } else if (url.hash !== '' || (url.search !== '' && query === 'without query')) {
      const parts = query === 'without query' ? 'a query or fragment' : 'a fragment';
      context.addIssue({ code: 'custom', message: `must not hold ${parts}` });
    }
  });
}

/** An address of Redis or Valkey. What is wrong with it is told without a part of it, because it holds a password. */
export function redisUrl() {
  return text.superRefine((value, context) => {
    try {
      parseRedisUrl(value);
    } catch (error) {
      if (!(error instanceof RedisUrlFault)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  });
}

/** Whether a text is an http or https URL, or a path from the root of an origin, to which a fragment can be added. */
export function isPageAddress(text: string): boolean {
  if (/[#\\\s]/.test(text)) return false;
  if (text.startsWith('/')) return !text.startsWith('//');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
}

/** An origin as browsers write it (RFC 6454 6.2), because it is compared with the `Origin` header. */
export function originText() {
  return z.string('must be an origin such as "https://app.example.com"').superRefine((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
      const message = `must be an origin such as "https://app.example.com"${schemeHint(value)}`;
      context.addIssue({ code: 'custom', message });
    } else if (url.origin !== value) {
      const path = url.pathname.replace(/\/$/, '');
      const remedy = path === '' ? '' : `; the path of the app is a setting of its own, SALLYPORT_PATH=${path}`;
      context.addIssue({
        code: 'custom',
        message: `must be a bare origin: write "${url.origin}", without path, query or "/" at its end${remedy}`,
      });
    }
  });
}

/**
 * The parameters that Sallyport sends itself. An app that could replace them would undo what protects the login. With a
 * `sub` of the app's choice, a signed request would do as an assertion of the client (RFC 9101 10.8).
 */
const loginParameters =
  'client_id redirect_uri response_type response_mode scope state nonce ' +
  'code_challenge code_challenge_method request request_uri authorization_details dpop_jkt ' +
  'client_secret client_assertion client_assertion_type sub';

const logoutParameters = 'client_id id_token_hint post_logout_redirect_uri state';

/** The name of an authorization parameter that Sallyport does not send itself. */
export function parameterName() {
  return furtherParameterName(loginParameters);
}

/** The same of the sign-out at the provider. */
export function logoutParameterName() {
  return furtherParameterName(logoutParameters);
}

function furtherParameterName(own: string) {
  const ownNames = new Set(own.split(' '));
  return z
    .string()
    .regex(/^[A-Za-z0-9_.:-]+$/, 'must be a parameter name')
    .refine((name) => !ownNames.has(name), 'is a parameter that Sallyport sets itself; remove it');
}

/**
 * A word of a cookie's name. Chunks of a session have the suffix ".1"; a prefix such as `__Host-` is the browser's to judge
 * (RFC 6265bis 4.1.3), and `login` and `logout` are taken.
 */
export function cookieName() {
  return z
    .string('must be a word such as "session"')
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/, 'must be a word of at most 40 letters, digits, "-" and "_"')
    .refine((name) => !/^log(?:in|out)(?:-|$)/i.test(name), 'is a name of another cookie of Sallyport; choose another');
}

const placeholder =
  /change.?(?:me|this|it)|replace.?(?:me|this|it)|placeholder|your.?(?:own.?)?(?:sealing.?)?(?:secret|key)|^<|^todo/i;

/** A sealing secret. A placeholder is refused, because whoever guesses it can make cookies that open. */
export function sealingSecret() {
  return z
    .string('must be a text of at least 32 characters')
    .min(32, { error: 'is too short: at least 32 characters; make one with `sallyport keygen`', abort: true })
    .refine(
      (secret) => !placeholder.test(secret) && new Set(secret).size > 4,
      'looks like a placeholder; make a real one with `sallyport keygen`',
    );
}

/** A secret that a client sends in a header (RFC 6750 2.1). A placeholder is refused, because it can be guessed. */
export function bearerToken() {
  return sealingSecret().regex(/^[A-Za-z0-9._~+/-]+=*$/, 'must consist of letters, digits and "-._~+/"');
}

/** For a path whose characters are checked already. */
export function hasNoDotSegment(path: string): boolean {
  return !path.split('/').some((segment) => segment === '.' || segment === '..');
}

/** An IP address, or a network in CIDR notation (RFC 4632 3.1). */
export function network() {
  return z.string().refine(isNetwork, 'must be an IP address or a network such as "10.0.0.0/8"');
}

function isNetwork(value: string): boolean {
  const [address = '', prefix, ...rest] = value.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}
