/**
 * What the store's operations do to one session's record, wherever a process keeps it. Each function changes the record
 * that it is given; whoever calls them sees to it that nothing comes between reading and writing it.
 *
 * Times are in milliseconds, by the clocks of whoever keeps the record.
 */
import type { SessionEnd } from '../events.ts';
import type { Advance, Claim, SessionRecord, SessionStart } from './store.ts';

export interface StoredSession {
  expiresAt: number;
  ended: SessionEnd | undefined;
  generation: number;
  content: string | undefined;
  contentExpiresAt: number;
  confirmedAt: number | undefined;
  oldestServed: number;
  /** An earlier confirmed generation that becomes the oldest one served, and when. */
  grace: { readonly generation: number; readonly endsAt: number } | undefined;
  activeAt: number | undefined;
  /** Who refreshes the generation. */
  claim: StoredClaim | undefined;
  /** What `begin` wrote, for `list`. */
  details: string | undefined;
}

export interface StoredClaim {
  /** Undefined once it was released as interrupted. */
  readonly owner: string | undefined;
  readonly leaseEndsAt: number;
  readonly leaseMs: number;
  /** Whether the refresh token may have been used up before this owner came. */
  readonly interrupted: boolean;
}

export function absentSession(): StoredSession {
  return {
    expiresAt: 0,
    ended: undefined,
    generation: 0,
    content: undefined,
    contentExpiresAt: Infinity,
    confirmedAt: undefined,
    oldestServed: 0,
    grace: undefined,
    activeAt: undefined,
    claim: undefined,
    details: undefined,
  };
}

/**
 * Applies what was to happen by now. Comes before everything else that is done with a record, so that it makes no
 * difference when somebody looks.
 */
export function settle(stored: StoredSession, now: number): void {
  const { generation, confirmedAt, contentExpiresAt, grace } = stored;
  if (contentExpiresAt <= now) stored.content = undefined;
  if (confirmedAt !== undefined && contentExpiresAt <= now) serveNoneBefore(stored, generation);
  else if (grace !== undefined && grace.endsAt <= now) serveNoneBefore(stored, grace.generation);
}

function serveNoneBefore(stored: StoredSession, generation: number): void {
  stored.oldestServed = generation;
  stored.grace = undefined;
}

export function recordOf(stored: StoredSession, now: number): SessionRecord {
  const { ended, generation, content, confirmedAt, oldestServed, activeAt } = stored;
  const ages = { confirmedMsAgo: msSince(confirmedAt, now), activeMsAgo: msSince(activeAt, now) };
  return { ended, generation, content, oldestServed, ...ages };
}

/** A clock that was set back makes nothing younger than new. */
export function msSince(at: number | undefined, now: number): number | undefined {
  return at === undefined ? undefined : Math.max(now - at, 0);
}

export function prolong(stored: StoredSession, expiresAt: number): void {
  stored.expiresAt = Math.max(stored.expiresAt, expiresAt);
}

/** @returns whether it is to be listed */
export function begin(stored: StoredSession, { details, content }: SessionStart): boolean {
  if (stored.ended !== undefined) return false;
  stored.details = details;
  if (content !== undefined && stored.generation === 0 && stored.confirmedAt === undefined) keep(stored, content);
  return true;
}

/** @param now by a clock that nobody sets */
export function claim(
  stored: StoredSession,
  { generation, owner }: Claim,
  { leaseMs, now }: { readonly leaseMs: number; readonly now: number },
): { state: 'granted'; interrupted: boolean } | { state: 'held'; leftMs: number } | { state: 'settled' } {
  if (stored.ended !== undefined || stored.generation > generation) return { state: 'settled' };
  const earlier = stored.generation === generation ? stored.claim : undefined;
  const isRenewal = earlier?.owner === owner;
  const leftMs = earlier === undefined || isRenewal ? 0 : leftOf(earlier, now);
  if (leftMs > 0) return { state: 'held', leftMs };
  const interrupted = earlier !== undefined && (!isRenewal || earlier.interrupted);
  raise(stored, generation);
  stored.claim = { owner, leaseEndsAt: now + leaseMs, leaseMs, interrupted };
  return { state: 'granted', interrupted };
}

/** A lease that would last longer than it was given is of another clock: the machine has started again since. */
function leftOf({ leaseEndsAt, leaseMs }: StoredClaim, now: number): number {
  const leftMs = leaseEndsAt - now;
  return leftMs <= leaseMs + 1 ? leftMs : 0;
}

/** @returns whether it was the owner's */
export function release(stored: StoredSession, { generation, owner }: Claim, interrupted: boolean): boolean {
  if (stored.generation !== generation || stored.claim?.owner !== owner) return false;
  stored.claim = interrupted ? { owner: undefined, leaseEndsAt: 0, leaseMs: 0, interrupted } : undefined;
  return true;
}

export function advance(stored: StoredSession, { generation, content }: Advance): 'advanced' | 'repeated' | 'refused' {
  if (stored.ended !== undefined || stored.generation >= generation) {
    return stored.generation === generation && stored.content === content ? 'repeated' : 'refused';
  }
  raise(stored, generation);
  keep(stored, content);
  return 'advanced';
}

export function confirm(stored: StoredSession, generation: number, { graceMs, now }: ConfirmTimes): void {
  if (stored.generation !== generation || stored.confirmedAt !== undefined) return;
  stored.confirmedAt = now;
  stored.contentExpiresAt = now + graceMs;
}

interface ConfirmTimes {
  readonly graceMs: number;
  readonly now: number;
}

export function touch(stored: StoredSession, now: number): void {
  if (stored.ended === undefined) stored.activeAt = now;
}

/** @returns whether it had not ended before */
export function end(stored: StoredSession, reason: SessionEnd): boolean {
  if (stored.ended !== undefined) return false;
  stored.ended = reason;
  stored.content = undefined;
  stored.claim = undefined;
  stored.details = undefined;
  return true;
}

/** Goes on to a generation of which nothing more is known. */
function raise(stored: StoredSession, generation: number): void {
  stored.claim = undefined;
  if (stored.generation === generation) return;
  // Its grace period goes on, unless that of an earlier one does.
  if (stored.confirmedAt !== undefined && stored.oldestServed < stored.generation) {
    stored.grace ??= { generation: stored.generation, endsAt: stored.contentExpiresAt };
  }
  stored.generation = generation;
  stored.content = undefined;
  stored.contentExpiresAt = Infinity;
  stored.confirmedAt = undefined;
}

/** Keeps a content for as long as the record. */
function keep(stored: StoredSession, content: string): void {
  stored.content = content;
  stored.contentExpiresAt = Infinity;
}
