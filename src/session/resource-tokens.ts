/**
 * The access tokens of a session for single resources (RFC 8707), beside its own: how they are written into it, and how
 * what several processes have of them comes together. They are an addition that can be obtained again: one that has
 * expired is left out, one that cannot be read is an absent one.
 */
import type { ResourceToken } from '../token-set.ts';

/** By the key of the resource request that they answer. */
export type ResourceTokens = ReadonlyMap<string, ResourceToken>;

/** What {@link writeResourceTokens} makes of them: a field of the session, and texts that are packed as tokens. */
export interface WrittenResourceTokens {
  /** Undefined where there are none. */
  readonly field:
    readonly (readonly [key: string, issuedAt: number, expiresAt: number | null, scope: string | null])[] | undefined;
  readonly tokens: readonly string[];
}

export function writeResourceTokens(tokens: ResourceTokens | undefined, now: number): WrittenResourceTokens {
  const usable = [...(tokens ?? [])].filter(([, token]) => isUsable(token, now));
  if (usable.length === 0) return { field: undefined, tokens: [] };
  return {
    field: usable.map(([key, { issuedAt, expiresAt, scope }]) => [key, issuedAt, expiresAt ?? null, scope ?? null]),
    tokens: usable.map(([, { accessToken }]) => accessToken),
  };
}

/** The inverse of {@link writeResourceTokens}; undefined where there are none. */
export function readResourceTokens(
  field: unknown,
  tokens: readonly (string | undefined)[],
): ResourceTokens | undefined {
  if (!Array.isArray(field)) return undefined;
  const read = new Map<string, ResourceToken>();
  for (const [index, entry] of field.entries()) {
    const [key, issuedAt, expiresAt, scope] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
    const accessToken = tokens[index];
    if (typeof key !== 'string' || accessToken === undefined || !isTime(issuedAt)) continue;
    if (expiresAt !== null && !isTime(expiresAt)) continue;
    read.set(key, {
      accessToken,
      issuedAt,
      expiresAt: expiresAt ?? undefined,
      scope: typeof scope === 'string' ? scope : undefined,
    });
  }
  return read.size === 0 ? undefined : read;
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * The tokens of a session that is put in place of an earlier form. What only the earlier one has goes on: it had no place
 * in the cookie that brought the new form. Of two for one key the later counts.
 */
export function mergeResourceTokens(
  newer: ResourceTokens | undefined,
  earlier: ResourceTokens | undefined,
  now: number,
): ResourceTokens | undefined {
  if (earlier === undefined) return newer;
  const kept = [...earlier].filter(([key, token]) => {
    const other = newer?.get(key);
    return isUsable(token, now) && (other === undefined || token.issuedAt > other.issuedAt);
  });
  return kept.length === 0 ? newer : new Map([...(newer ?? []), ...kept]);
}

/** Without the one that expires first, which is the least use. */
export function withoutFirstToExpire(tokens: ResourceTokens): ResourceTokens {
  const [first] = [...tokens].toSorted(([, a], [, b]) => (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity));
  return new Map([...tokens].filter(([key]) => key !== first?.[0]));
}

function isUsable({ expiresAt = Infinity }: ResourceToken, now: number): boolean {
  return now < expiresAt;
}
