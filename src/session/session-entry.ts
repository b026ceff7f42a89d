/** What this process knows of one session. All cookies of the session, of whatever generation, lead to one entry. */
import { hash } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import type { SessionEnd } from '../events.ts';
import { mergeResourceTokens } from './resource-tokens.ts';
import { endsAt, type Session, type SessionLimits } from './session.ts';
import type { SessionSealer } from './session-sealer.ts';

/** Mutable: concurrent calls of the session meet here, and each sees the result of the others. */
export interface SessionEntry {
  /** The newest form that this process has. */
  session: Session;
  /**
   * What the session's cookie is to hold: `session`, sealed, or the ticket with which the store has it. Undefined after a
   * browser has shown that seal: it would take as much memory as the tokens.
   */
  cookieText: string | undefined;
  /** Whether the store holds the session, and the cookie only a ticket. */
  readonly isStored: boolean;
  /** Seals and opens the session. */
  readonly sealer: SessionSealer;
  /** The session's name in the store: a hash of its id. */
  readonly key: string;
  /** Short hash of the id, for events. */
  readonly sessionHash: string;
  /** The names of the person and of the provider's session in the store, by which the provider ends sessions. */
  names: readonly string[];
  /** Orders the sessions that began in this process, by 1 and more; 0 for one that came by its cookie. */
  readonly ordinal: number;
  /** From 0 to 1, by the id: how far this session's refreshes are moved ahead. */
  readonly jitter: number;
  /** Why it was ended, for good; undefined while it goes on. */
  ended: SessionEnd | undefined;
  /**
   * The newest generation that is known to exist. If it is higher than that of `session`, another process has made it,
   * and what this one has holds a used refresh token.
   */
  newestGeneration: number;
  /** When a browser first showed the newest generation, in milliseconds of the monotonic clock; undefined before. */
  confirmedAt: number | undefined;
  /** Cookies of generations before this one have had their grace period, and are not served again. */
  oldestServed: number;
  /** The last call that counts against the idle timeout, in seconds since 1970. */
  lastActivityAt: number;
  /** The last call that the store was told of, or the session's beginning, in seconds since 1970. */
  countedAt: number;
  /** As of when this process knows what the store has of the session, in milliseconds of the monotonic clock. */
  knownAsOf: number;
  /** When the store's record was last read, on the same clock: what no message tells of is as old as that. */
  readAt: number;
}

/** What a new entry is made of. */
export interface EntryStart extends Pick<SessionEntry, 'cookieText' | 'isStored' | 'sealer' | 'names'> {
  readonly ordinal?: number;
  readonly knownAsOf?: number;
}

export function createEntry(
  session: Session,
  { ordinal = 0, knownAsOf = -Infinity, ...start }: EntryStart,
): SessionEntry {
  const idHash = hashOf(session.id);
  const key = idHash.toString('base64url');
  return {
    session,
    ...start,
    key,
    sessionHash: hashOfKey(key),
    ordinal,
    jitter: idHash.readUInt8(0) / 255,
    ended: undefined,
    newestGeneration: session.generation,
    confirmedAt: undefined,
    oldestServed: 0,
    lastActivityAt: session.sealedActivityAt,
    countedAt: session.createdAt,
    knownAsOf,
    readAt: -Infinity,
  };
}

/**
 * Puts a newer form of the session in place of the one that the entry has.
 * @param sealed the form as the browser is to get it; undefined if it comes from there
 */
export function applyForm(entry: SessionEntry, session: Session, sealed: string | undefined): void {
  const resourceTokens = mergeResourceTokens(session.resourceTokens, entry.session.resourceTokens, nowSeconds());
  entry.session = resourceTokens === session.resourceTokens ? session : { ...session, resourceTokens };
  if (!entry.isStored) entry.cookieText = sealed;
  entry.lastActivityAt = Math.max(entry.lastActivityAt, session.sealedActivityAt);
  noteGeneration(entry, session.generation);
}

/** Notes that a generation exists, whether or not this process has it. */
export function noteGeneration(entry: SessionEntry, generation: number): void {
  if (generation <= entry.newestGeneration) return;
  entry.newestGeneration = generation;
  entry.confirmedAt = undefined;
}

/** Whether the entry has the newest generation that is known to exist. */
export function hasNewestGeneration({ session, newestGeneration }: SessionEntry): boolean {
  return session.generation === newestGeneration;
}

/** Whether the session has ended, by a decision, by its lifetime or by its idle time. */
export function hasEnded(entry: SessionEntry, limits: SessionLimits): boolean {
  return entry.ended !== undefined || nowSeconds() >= endsAt(entry.session, limits) || isIdle(entry, limits);
}

/** Whether the idle time is over, as far as this process knows. */
export function isIdle(entry: SessionEntry, limits: SessionLimits): boolean {
  return limits.idleSeconds !== 0 && nowSeconds() >= entry.lastActivityAt + limits.idleSeconds;
}

/** When the session ends for lack of calls; undefined where the idle timeout is off. */
export function idleEndsAt(entry: SessionEntry, { idleSeconds }: SessionLimits): number | undefined {
  return idleSeconds === 0 ? undefined : entry.lastActivityAt + idleSeconds;
}

/** A session's name in the store. */
export function sessionKey(id: string): string {
  return hashOf(id).toString('base64url');
}

/** The name under which events mention a session: its id is in the sign-out link and stays out of logs. */
export function sessionHash(id: string): string {
  return hashOfKey(sessionKey(id));
}

/** {@link sessionHash} of the session of a key. */
export function hashOfKey(key: string): string {
  return key.slice(0, 12);
}

function hashOf(id: string): Buffer {
  return hash('sha256', id, 'buffer');
}
