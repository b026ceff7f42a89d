/** What this process knows of one session. All cookies of the session, of whatever generation, lead to one entry. */
import { createHash } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import { endsAt, type Session, type SessionLimits } from './session.ts';

/** Mutable: concurrent calls of the session meet here, and each sees the result of the others. */
export interface SessionEntry {
  /** The newest generation. */
  session: Session;
  /** `session`, sealed. */
  sealed: string;
  /** Short hash of the id, for events. */
  readonly sessionHash: string;
  /** Orders the sessions that began in this process, by 1 and more; 0 for one that came by its cookie. */
  readonly ordinal: number;
  /** From 0 to 1, by the id: how far this session's refreshes are moved ahead. */
  readonly jitter: number;
  /**
   * `ended`: by a decision, for good. `superseded`: the cookies that lead here are older than the grace period, and
   * what they hold is a used refresh token; the session goes on under its newest cookie, which gets an entry of its
   * own.
   */
  status: 'active' | 'superseded' | 'ended';
  /** A login has put another session in its place: the browser has that one's cookie. */
  replaced: boolean;
  /** When the browser first showed the newest generation, in seconds; undefined before. */
  acknowledgedAt: number | undefined;
  /** The last call that counts against the idle timeout. */
  lastActivityAt: number;
  /** How many cookies in the cache lead here. */
  references: number;
}

export function createEntry(session: Session, sealed: string, ordinal = 0): SessionEntry {
  const [firstByte = 0] = hashOf(session.id);
  return {
    session,
    sealed,
    sessionHash: sessionHash(session.id),
    ordinal,
    jitter: firstByte / 255,
    status: 'active',
    replaced: false,
    acknowledgedAt: undefined,
    lastActivityAt: session.sealedActivityAt,
    references: 0,
  };
}

/** Puts a newer form of the session in place of the one that the entry has. */
export function applyGeneration(entry: SessionEntry, session: Session, sealed: string): void {
  if (session.generation > entry.session.generation) entry.acknowledgedAt = undefined;
  entry.session = session;
  entry.sealed = sealed;
  entry.lastActivityAt = Math.max(entry.lastActivityAt, session.sealedActivityAt);
}

/** Whether the session has ended, by a decision, by its lifetime or by its idle time. */
export function hasEnded(entry: SessionEntry, limits: SessionLimits): boolean {
  if (entry.status !== 'active') return true;
  const now = nowSeconds();
  return now >= endsAt(entry.session, limits) || now >= (idleEndsAt(entry, limits) ?? Infinity);
}

/** When the session ends for lack of calls; undefined where the idle timeout is off. */
export function idleEndsAt(entry: SessionEntry, { idleSeconds }: SessionLimits): number | undefined {
  return idleSeconds === 0 ? undefined : entry.lastActivityAt + idleSeconds;
}

/** The name under which events mention a session: its id is in the sign-out link and stays out of logs. */
export function sessionHash(id: string): string {
  return hashOf(id).toString('base64url').slice(0, 12);
}

function hashOf(id: string): Buffer {
  return createHash('sha256').update(id).digest();
}
