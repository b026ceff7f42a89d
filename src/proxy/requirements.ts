/**
 * The scopes and claims that a route requires, compared with those of a person. Hides how a claim is found, and what of a
 * requirement is missing. Claims are what a provider wrote: of any type, under any name.
 */
import type { ApiRoute } from '../config/config.ts';
import { claimPath } from '../config/schema/require.ts';
import type { Claims } from '../token-set.ts';

export type Requirements = NonNullable<ApiRoute['require']>;

/** What a person has. */
export interface Held {
  readonly claims: Claims;
  readonly scopes: ReadonlySet<string>;
}

type Value = string | number | boolean;

/** All of some values, any of others; undefined for no such rule. */
interface Rule<Of> {
  readonly all?: readonly Of[] | undefined;
  readonly any?: readonly Of[] | undefined;
}

type MissingRule<Of> = { readonly all?: readonly Of[]; readonly any?: readonly Of[] };

/** What is missing, in the form of the configuration. It holds configured values only. */
export type Missing = {
  readonly scopes?: MissingRule<string>;
  readonly claims?: Readonly<Record<string, MissingRule<Value>>>;
};

/** @returns what tells what is missing; undefined where nothing is */
export function createRequirements({ scopes, claims }: Requirements): (held: Held) => Missing | undefined {
  const scopeRule: Rule<string> = scopes === undefined ? {} : Array.isArray(scopes) ? { all: scopes } : scopes;
  const claimRules = Object.entries(claims ?? {}).map(
    ([name, given]) => ({ name, path: claimPath(name), rule: ruleOf(given) }) as const,
  );
  return (held) => {
    const missingScopes = missingOf(scopeRule, held.scopes);
    const missingClaims = claimRules.flatMap(({ name, path, rule }) => {
      const missing = missingOf(rule, valuesOf(claimAt(held.claims, path)));
      return missing === undefined ? [] : [[name, missing] as const];
    });
    if (missingScopes === undefined && missingClaims.length === 0) return undefined;
    return {
      ...(missingScopes === undefined ? {} : { scopes: missingScopes }),
      ...(missingClaims.length === 0 ? {} : { claims: Object.fromEntries(missingClaims) }),
    };
  };
}

type GivenRule = NonNullable<Requirements['claims']>[string];

function ruleOf(given: GivenRule): Rule<Value> {
  if (Array.isArray(given)) return { any: given };
  return given instanceof Object ? given : { any: [given] };
}

/** Of a type and letter by letter: a number is no text. */
function missingOf<Of>({ all = [], any }: Rule<Of>, held: ReadonlySet<unknown>): MissingRule<Of> | undefined {
  const lacking = all.filter((value) => !held.has(value));
  const lacksAny = any !== undefined && !any.some((value) => held.has(value));
  if (lacking.length === 0 && !lacksAny) return undefined;
  return { ...(lacking.length === 0 ? {} : { all: lacking }), ...(lacksAny ? { any } : {}) };
}

/** Own members alone: a claim must not be found in what every object has, such as `constructor`. */
function claimAt(claims: Claims, path: readonly string[]): unknown {
  let value: unknown = claims;
  for (const name of path) {
    if (!(value instanceof Object) || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined;
    value = Reflect.get(value, name);
  }
  return value;
}

/** A claim that is no list is one of itself. */
function valuesOf(claim: unknown): ReadonlySet<unknown> {
  return new Set(Array.isArray(claim) ? claim : [claim]);
}

/** Scopes in whichever form providers write them: words in a text (RFC 9068 2.2.3), or a list. */
export function scopesIn(value: unknown): ReadonlySet<string> {
  if (typeof value === 'string') return new Set(value.split(' ').filter((scope) => scope !== ''));
  return new Set(Array.isArray(value) ? value.filter((scope) => typeof scope === 'string') : []);
}

/** What is missing as words for a log and for a person who reads them. */
export function wordsOf({ scopes, claims = {} }: Missing): string[] {
  const ofClaims = Object.entries(claims).map(([name, rule]) => `claim ${name}: ${ruleInWords(rule)}`);
  return [...(scopes === undefined ? [] : [`scope ${ruleInWords(scopes)}`]), ...ofClaims];
}

function ruleInWords({ all = [], any = [] }: Rule<Value>): string {
  return [...(all.length === 0 ? [] : [all.join(' and ')]), ...(any.length === 0 ? [] : [any.join(' or ')])].join(', ');
}
