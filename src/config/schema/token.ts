/** The key `api[].token`: which token a call of the route carries. */
import { z } from 'zod';
import { foldedName, isIdentityHeader } from '../../http/identity-headers.ts';
import { flag, seconds, text } from '../kinds.ts';
import type { TokenFunction } from '../token-function.ts';
import { ofResource, resource, scope } from './resource.ts';

/** For code alone. */
export const tokenFunction = z.custom<TokenFunction>((value) => typeof value === 'function');

/** Names of headers that mean something else to an API or on the way to it. */
const takenHeaders =
  /^(?:accept.*|access-control-.*|age|allow|cache-control|client-.*|connection|content-.*|cookie2?|date|dpop|etag|expect|forwarded|from|host|http2-.*|if-.*|keep-alive|last-modified|location|max-forwards|origin|pragma|prefer|priority|proxy-.*|range|referer|sec-.*|set-cookie2?|te|trace.*|trailer|transfer-encoding|upgrade|user-agent|vary|via|warning|www-.*|x-csrf|x-forwarded-.*|x-request-id)$/;

/** The header in which an exchanged token goes: `Authorization`, or one that nothing else uses. */
const tokenHeader = z
  .string('must be the name of a header')
  .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'must be the name of a header, of letters, digits and "-"')
  .refine((name) => {
    const folded = foldedName(name);
    return folded === 'txn-token' || (!takenHeaders.test(folded) && !isIdentityHeader(folded));
  }, 'is a header with a meaning of its own, or one in which gateways say who calls; choose another, e.g. "Txn-Token"');

function oneOrMore(what: string) {
  const one = text.regex(/^[\x21-\x7e]+$/, `must be ${what}`);
  return z.union([one, z.array(one).min(1, `must name ${what}`)], `must be ${what}, or a list of them`);
}

const audienceText = 'the name of an audience, e.g. "orders"';

const exchange = z.strictObject({
  audience: oneOrMore(audienceText).optional().meta({
    description: 'For whom the token is, by the names that the provider knows (RFC 8693 2.1). One API, one audience.',
  }),
  resource: resource.optional().meta({
    description: 'The same by address (RFC 8707), for a provider that goes by addresses.',
  }),
  scope: scope.optional().meta({
    description: 'The scopes of the token, separated by spaces. Default: as the provider decides.',
  }),
  requestedTokenType: text
    .regex(/^[a-z][\w.+-]*:[\x21-\x7e]+$/i, 'must be a URI, e.g. "urn:ietf:params:oauth:token-type:jwt"')
    .refine((type) => !/(?:refresh|id)_token$/i.test(type), 'must not be a refresh token or an ID token')
    .optional()
    .meta({
      description:
        'The kind of token to ask for (RFC 8693 3), e.g. `urn:ietf:params:oauth:token-type:txn_token`. Another kind is not ' +
        'passed on.',
    }),
  actor: flag.default(false).meta({
    description: 'Names Sallyport as who acts for the person, with its own client credentials token (RFC 8693 1.1).',
  }),
  header: tokenHeader.default('Authorization').meta({
    description:
      'The header that carries the token: `Authorization`, with the token as a bearer token, or e.g. `Txn-Token`, with the ' +
      'token alone. What browsers send under that name is dropped.',
  }),
});

function hasTarget({
  audience,
  resource: address,
  scope: scopes,
  requestedTokenType,
}: z.output<typeof exchange>): boolean {
  return [audience, address, scopes, requestedTokenType].some((value) => value !== undefined);
}

const noTarget =
  'asks for nothing that the session has not: name an audience, a resource, a scope or a requestedTokenType';

const cacheSeconds = seconds(0, 3600)
  .default(60)
  .meta({
    description:
      'Seconds for which an answer of the provider counts, if it says nothing shorter. For that long an access token goes ' +
      'on working that the provider has revoked. 0: each call asks.',
  });

const phantom = z.strictObject({
  audience: text.optional().meta({
    description:
      'The audience that the JWT must name. Default: the client id. An answer that is signed as a whole (RFC 9701) is for ' +
      'the client in any case.',
  }),
  cacheSeconds,
});

const introspect = z.strictObject({ cacheSeconds });

const client = z.strictObject({
  scope: scope.optional().meta({ description: 'The scopes of the token, separated by spaces.' }),
  audience: oneOrMore(audienceText).optional().meta({ description: 'For whom the token is, for providers that ask.' }),
  resource: resource.optional().meta({ description: 'The same by address (RFC 8707).' }),
  session: flag.default(true).meta({
    description:
      'Whether a session is needed. `false`: anybody who passes the origin check calls the API with the rights of ' +
      'Sallyport itself.',
  }),
});

/** `true` for an object with every default. */
function orTrue<T extends z.ZodType>(options: T) {
  return z.union([z.literal(true).transform(() => options.parse({})), options]);
}

const exchangeMeaning =
  "Another token in exchange for the session's (RFC 8693), for this API alone: it is of no use at another one.";
const phantomMeaning =
  "The JWT that stands for the opaque access token, from the provider's introspection; verified before it is sent. " +
  '`true`: with every default.';
const introspectMeaning =
  'Asks the provider (RFC 7662) whether the access token is active before it is sent. `true`: with every default.';
const clientMeaning =
  "Sallyport's own token (RFC 6749 4.4), the same for everybody: the API learns nothing of the person, and must not rely " +
  'on it for what is theirs.';

export const token = z
  .union(
    [
      z.enum(['session', 'none', 'optional']),
      z.strictObject({ exchange: exchange.refine(hasTarget, noTarget).meta({ description: exchangeMeaning }) }),
      z.strictObject({ phantom: orTrue(phantom).meta({ description: phantomMeaning }) }),
      z.strictObject({ introspect: orTrue(introspect).meta({ description: introspectMeaning }) }),
      z.strictObject({ client: client.meta({ description: clientMeaning }) }),
      ofResource,
      tokenFunction,
    ],
    'must be "session", "none", "optional", an object with "resource" (absolute URIs without a fragment), "scope" or both, one with "exchange", "phantom", "introspect" or "client", or a function',
  )
  .default('session')
  .meta({
    description:
      "The token that calls carry. `session`: the session's access token. `none`: none, and no session is looked for: " +
      'anybody who passes the origin check reaches the API. `optional`: as `session` where there is one, else as `none`. ' +
      'Others: [token-policies.md](token-policies.md).',
  });
