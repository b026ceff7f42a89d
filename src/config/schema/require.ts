/** The key `api[].require`: what must hold of a person, and of their sign-in, for a call to reach the API. */
import { z } from 'zod';
import { hasNoDotSegment, httpUrl, seconds, text } from '../kinds.ts';

/** RFC 6749 3.3: without a blank, which would make two of it. */
const scope = z
  .string('must be a scope')
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be one scope, without blanks or quotes');
const scopes = z.array(scope).min(1, 'must name a scope');

const value = z.union([z.string(), z.number(), z.boolean()], 'must be a text, a number, true or false');
const values = z.array(value).min(1, 'must hold a value');

/** A record's key of this name would be left out without a word, and the rule with it. */
const forbiddenName = '__proto__';

const claimName = text
  .refine((name) => claimPath(name).every((part) => part !== ''), 'has an empty part: a dot leads into an object')
  .refine((name) => !claimPath(name).includes(forbiddenName), 'must not hold "__proto__"');

const claims = z
  .custom<object>(
    (given) => !(given instanceof Object && Object.hasOwn(given, forbiddenName)),
    'must not hold "__proto__"',
  )
  .pipe(
    z.record(
      claimName,
      z.union(
        [value, values, z.strictObject({ all: values }), z.strictObject({ any: values })],
        'must be a value, a list of which one must be there, { all: […] } or { any: […] }',
      ),
      'must be an object of claims and the values that they must have',
    ),
  )
  .refine((given) => Object.keys(given).length > 0, 'must name a claim');

const opa = z.strictObject({
  url: httpUrl('the address of Open Policy Agent, e.g. "http://127.0.0.1:8181"').meta({
    description:
      'The address of Open Policy Agent, which decides about each call. Whoever answers there decides, and reads the ' +
      "person's claims: over `http:`, only on loopback or a network of your own.",
  }),
  path: text
    .regex(/^[\w.~-]+(?:\/[\w.~-]+)*$/, 'must be a path such as "shop/allow", without "/" at its ends')
    .refine(hasNoDotSegment, 'must not hold "." or ".." segments')
    .meta({
      description:
        'The rule that decides, below `/v1/data/`: `shop/allow` for `allow` in `package shop`. It yields true or false, or ' +
        'an object with `allow`. Where it yields nothing, the call is refused.',
    }),
  timeoutSeconds: seconds(0.01, 60)
    .default(1)
    .meta({ description: 'Seconds to its decision; beyond it the call is refused with 502.' }),
  cacheSeconds: seconds(0, 3600)
    .default(0)
    .meta({
      description:
        'Seconds for which a decision counts for calls that agree in everything that was asked. 0: each call is asked ' +
        'about. What changes in the policy, or in its data, takes effect that much later.',
    }),
});

export const requirements = z
  .strictObject({
    scopes: z
      .union(
        [
          scopes,
          z
            .strictObject({ all: scopes.optional(), any: scopes.optional() })
            .refine(({ all, any }) => all !== undefined || any !== undefined, 'must hold "all" or "any"'),
        ],
        'must be a list of scopes, or { all: […], any: […] }',
      )
      .optional()
      .meta({
        description:
          'Scopes that the token must have: all of a list; with `any`, at least one. Compared as whole words, letter by letter.',
      }),
    claims: claims.optional().meta({
      description:
        'Claims and the values that they must have: one value; one of a list, or of `any`; with `all`, each. In a claim that ' +
        'is a list, one of its members must be it. A dot leads into an object (`realm_access.roles`), `\\.` is a dot in a name, ' +
        'and a name with `://` is one name. A claim that is missing, or of another type, refuses the call.',
    }),
    from: z
      .enum(['token', 'introspection', 'idToken'], 'must be "token", "introspection" or "idToken"')
      .optional()
      .meta({
        description:
          "Where scopes and claims are read: the session's access token, which must be a JWT; what introspection says of it; " +
          'or the ID token and UserInfo, with the scopes that were granted. Default: introspection on a route that asks it, ' +
          'else the access token where it is a JWT, else the ID token.',
      }),
    acr: z
      .array(text.regex(/^[\x21-\x7e]+$/, 'must be one acr, without blanks'))
      .min(1, 'must name an acr')
      .optional()
      .meta({
        description:
          'Kinds of sign-in (`acr`) of which the session must have one, the preferred first. Otherwise 401 `step_up_required`, ' +
          'with an address that asks the provider for them.',
      }),
    maxAgeSeconds: z
      .int('must be a whole number of seconds')
      .min(1, 'must be at least 1 second')
      .max(34_560_000, 'must be at most 34560000 seconds')
      .optional()
      .meta({
        description:
          'How many seconds ago the person may have signed in at the provider (`auth_time`), in whole seconds. Otherwise 401 ' +
          '`step_up_required`. A WebSocket that is open stays open.',
      }),
    opa: opa.optional().meta({ description: 'An external decision, by the REST API of Open Policy Agent.' }),
  })
  .refine((given) => Object.keys(given).some((key) => key !== 'from'), 'requires nothing; remove it, or say what')
  .optional()
  .meta({
    description:
      'What must hold for a call to reach the API; a WebSocket upgrade, too. Otherwise 403 `access_denied`, or 401 ' +
      '`step_up_required`. The API still has to check its token: others may reach it on another way.',
  });

/** The names that lead to a claim, from the outermost object on. */
export function claimPath(name: string): readonly string[] {
  if (name.includes('://')) return [name];
  return name.split(/(?<!\\)\./).map((part) => part.replaceAll('\\.', '.'));
}
