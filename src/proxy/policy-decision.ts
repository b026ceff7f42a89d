/**
 * Decisions of Open Policy Agent about calls, by its REST API (`POST /v1/data/<path>`). Hides the wire, the cache and what
 * counts as a decision: whatever is none refuses the call.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { monotonicMs } from '../clock.ts';
import type { ApiRoute } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import { pathOf } from '../http/paths.ts';
import { legible } from '../oidc/legible.ts';
import type { Claims } from '../token-set.ts';
import { createPolicyServer } from '../upstream/policy-server.ts';
import type { Requirements } from './requirements.ts';

/** What is asked, as the policy sees it in `input`. There is no token in it. */
export interface PolicyInput {
  readonly method: string;
  /** The segments of the path at the API, each decoded. */
  readonly path: readonly string[];
  /** The prefix of the route. */
  readonly route: string;
  /** Null for a call without a session. */
  readonly claims: Claims | null;
  readonly client: { readonly address: string };
}

export interface Decision {
  readonly allowed: boolean;
  /** In the policy's words. */
  readonly reason?: string | undefined;
  readonly missing?: readonly string[];
}

export interface PolicyDecisions {
  /** @throws {Error} where there is no decision */
  decide(input: PolicyInput): Promise<Decision>;
  close(): Promise<void>;
}

/** Decisions that are kept, the most recently used; each takes about 200 bytes. */
const maximumKept = 10_000;

export function createPolicyDecisions({ url, path, ...limits }: NonNullable<Requirements['opa']>): PolicyDecisions {
  const server = createPolicyServer(new URL(url), limits.timeoutSeconds);
  const ttl = limits.cacheSeconds * 1000;
  const kept =
    ttl === 0
      ? undefined
      : new LRUCache<string, Decision>({ max: maximumKept, ttl, perf: { now: monotonicMs }, ttlResolution: 0 });

  async function decide(input: PolicyInput): Promise<Decision> {
    const question = JSON.stringify({ input });
    // All that was asked, so that no decision about one person or path is taken for another's.
    const key = kept === undefined ? '' : hash('sha256', question, 'base64url');
    const known = kept?.get(key);
    if (known !== undefined) return known;
    const decision = decisionIn(await server.ask(`/v1/data/${path}`, question));
    kept?.set(key, decision);
    return decision;
  }

  return { decide, close: () => server.close() };
}

/** A rule without a value is undefined in Open Policy Agent: `allow` of a policy without a default, for most calls. */
const undecided: Decision = { allowed: false, reason: undefined };

const maximumMissing = 50;

/** @throws {TypeError} for what a policy did not mean as a decision */
function decisionIn(answer: unknown): Decision {
  if (!(answer instanceof Object) || Array.isArray(answer))
    throw new TypeError('The policy server answered no object.');
  if (!Object.hasOwn(answer, 'result')) return undecided;
  const result: unknown = Reflect.get(answer, 'result');
  if (typeof result === 'boolean') return { allowed: result };
  const { allow, reason, missing } = (result instanceof Object ? result : {}) as Partial<Record<string, unknown>>;
  if (typeof allow !== 'boolean') throw new TypeError('The policy decided neither true nor false.');
  const texts = Array.isArray(missing) ? missing.map(legible).filter((text) => text !== undefined) : [];
  return {
    allowed: allow,
    reason: legible(reason),
    ...(texts.length === 0 ? {} : { missing: texts.slice(0, maximumMissing) }),
  };
}

/**
 * The segments of a path at the API, each decoded once, as servers read them.
 * @throws {BffError} `request_invalid` for a path in which servers may read other segments: the policy would decide about
 *   one path, and the API serve another
 */
export function policyPath(target: string, { allowEncodedSlashes }: Pick<ApiRoute, 'allowEncodedSlashes'>): string[] {
  const segments = pathOf(target).slice(1).split('/');
  // Servers serve both spellings, with and without a slash at the end.
  if (segments.at(-1) === '') segments.pop();
  return segments.map((segment) => {
    const decoded = decodedOnce(segment);
    const mayBeOthers =
      decoded === undefined ||
      decoded === '' ||
      otherReadings.test(decoded) ||
      (!allowEncodedSlashes && /[/\\]/.test(decoded));
    if (!mayBeOthers) return decoded;
    throw new BffError(
      'request_invalid',
      'The path holds empty segments, parameters (";"), control characters or escapes that servers read in different ways.',
    );
  });
}

/** Parameters, which some servers cut off; what is no character, which some leave out; escapes of escapes. */
const otherReadings = /;|\p{C}|%[0-9a-f]{2}/iu;

/** Undefined for bytes that are no text. */
function decodedOnce(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
