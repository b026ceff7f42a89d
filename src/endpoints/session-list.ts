/**
 * `/bff/sessions`: where the person is signed in, and the end of what they don't know. They see and end their own sessions
 * only; a handle of somebody else is answered as one that does not exist.
 */
import { isoTime } from '../clock.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import type { RegisteredSession } from '../session/registry.ts';
import { sessionExpired } from '../session/session.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { personAmong } from '../session/session-names.ts';
import { headersOf, single, traitsOf, type BffContext, type EndpointDeps } from './endpoint.ts';
import { createSignOut } from './sign-out.ts';

/**
 * The response of `GET /bff/sessions`, the newest first. Times are ISO 8601; `lastSeenAt` is some minutes late. `userAgent`
 * and `address` are as of the sign-in, and null where unknown.
 *
 * @example
 * ```ts
 * import type { SessionsView } from 'sallyport';
 *
 * export async function othersOfMine(): Promise<SessionsView['sessions']> {
 *   const response = await fetch('/bff/sessions');
 *   const { sessions } = (await response.json()) as SessionsView;
 *   return sessions.filter(({ current }) => !current);
 * }
 * ```
 */
export interface SessionsView {
  readonly sessions: ReadonlyArray<{
    /** Names the session in `DELETE /bff/sessions/{handle}`. It gives no authority. */
    readonly handle: string;
    /** Whether it is the session of this request. */
    readonly current: boolean;
    readonly createdAt: string;
    readonly lastSeenAt: string;
    /** Such as `Firefox on Windows`. */
    readonly userAgent: string | null;
    /** The network of the address, such as `203.0.113.0/24`. */
    readonly address: string | null;
  }>;
}

export function createSessionList(deps: EndpointDeps) {
  const { config, sessions, resolveClientAddress } = deps;
  const { registry } = sessions;
  const signOut = createSignOut(deps);

  async function read(c: BffContext): Promise<Response> {
    const { entry, person } = await requireOwnSession(c);
    const listed = await registry.list(person);
    const isListed = listed.some(({ handle }) => handle === entry.key);
    const all = isListed ? listed : withOwn(c, entry, listed);
    return c.json({ sessions: all.map((session) => viewOf(session, entry)) } satisfies SessionsView);
  }

  /** The store may have been emptied since the sign-in: then this session is listed again. */
  function withOwn(
    c: BffContext,
    entry: SessionEntry,
    listed: readonly RegisteredSession[],
  ): readonly RegisteredSession[] {
    const traits = traitsOf(c, resolveClientAddress);
    detach(registry.add(entry, traits), () => undefined);
    const { createdAt } = entry.session;
    const own = { handle: entry.key, createdAt, lastSeenAt: entry.countedAt, ...traits };
    return [...listed, own].toSorted((one, other) => other.createdAt - one.createdAt);
  }

  async function endOne(c: BffContext): Promise<Response> {
    const { entry, person } = await requireOwnSession(c);
    const handle = c.req.param('handle') ?? '';
    if (handle === entry.key) await signOut(entry);
    else if (!(await registry.end(person, handle, 'other_session'))) {
      throw new BffError('route_not_found', 'You have no such session.');
    }
    return c.body(null, 204);
  }

  async function endOthers(c: BffContext): Promise<Response> {
    const { entry, person } = await requireOwnSession(c);
    if (single(new URL(c.req.url).searchParams, 'others') !== 'true') {
      throw new BffError('request_invalid', 'Name a session by its handle, or end all others with "?others=true".');
    }
    await registry.endAll(person, 'other_session', entry.key);
    return c.body(null, 204);
  }

  /** The session of the request, and its person's name. @throws {BffError} if there is none, or the call is forged */
  async function requireOwnSession(c: BffContext): Promise<{ readonly entry: SessionEntry; readonly person: string }> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config);
    const opened = await sessions.open(headers.cookie);
    if (opened.state === 'ended') throw sessionExpired();
    const person = opened.state === 'active' ? personAmong(opened.entry.names) : undefined;
    if (opened.state !== 'active' || person === undefined) throw new BffError('login_required', 'Sign in first.');
    return { entry: opened.entry, person };
  }

  return { read, endOne, endOthers };
}

function viewOf(session: RegisteredSession, own: SessionEntry): SessionsView['sessions'][number] {
  const { handle, createdAt, lastSeenAt, userAgent, address } = session;
  return {
    handle,
    current: handle === own.key,
    createdAt: isoTime(createdAt),
    lastSeenAt: isoTime(lastSeenAt),
    userAgent: userAgent ?? null,
    address: address ?? null,
  };
}
