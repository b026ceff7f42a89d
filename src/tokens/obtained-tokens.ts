/**
 * What `exchange`, `phantom` and `introspect` have in common: they ask the provider for what a call carries, with the
 * session's access token, by whose hash it is kept. There alone, so that what has no place in memory any more is let go;
 * a session remembers the hash, which never changes for one form of it.
 */
import type { Session } from '../session/session.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { TokenSet } from '../token-set.ts';
import { createFreshSubject } from './fresh-subject.ts';
import type { KeptTokens, ObtainedToken } from './kept-tokens.ts';
import type { Refresher } from './refresh.ts';
import type { TokenPolicy, TokenCall } from './token-policy.ts';

/** What one policy obtains. */
export interface TokenSource {
  /** The route's path, for what is remembered of it. */
  readonly route: string;
  readonly headerName: string;
  /** Stands for the session's token and all that is asked with it. */
  readonly keyOf: (tokens: TokenSet) => string;
  /** @returns undefined where the provider does not take the session's token any more */
  readonly obtain: (tokens: TokenSet, entry: SessionEntry) => Promise<ObtainedToken | undefined>;
  /** The error where it does not take a newer one either. */
  readonly refused: () => Error;
  /** Whether a 401 of the API is about the session's access token, which is refreshed then. */
  readonly isAboutSubject: boolean;
}

export interface ObtainedTokensDeps {
  readonly kept: KeptTokens<ObtainedToken>;
  readonly refresher: Refresher;
}

/** Thrown to all who wait for the same token. */
class NotTaken extends Error {}

export function createObtainedTokens(
  source: TokenSource,
  { kept, refresher }: ObtainedTokensDeps,
): TokenPolicy & {
  readonly find: (call: TokenCall, entry: SessionEntry) => ObtainedToken | Promise<ObtainedToken>;
} {
  const { route } = source;
  const keys = new WeakMap<Session, string>();
  const withFreshSubject = createFreshSubject(route, refresher);

  function keyFor(session: Session): string {
    const known = keys.get(session);
    if (known !== undefined) return known;
    const key = source.keyOf(session.tokens);
    keys.set(session, key);
    return key;
  }

  /** What is judged before an attempt is what the attempt carries, even if nothing is kept. */
  function find(call: TokenCall, entry: SessionEntry): ObtainedToken | Promise<ObtainedToken> {
    const found = call.obtained ?? kept.usable(keyFor(entry.session)) ?? obtain(entry);
    if (found instanceof Promise) return found.then((obtained) => (call.obtained = obtained));
    call.obtained = found;
    return found;
  }

  async function obtain(entry: SessionEntry): Promise<ObtainedToken> {
    const obtained = await withFreshSubject(entry, (tokens) => findKept(tokens, entry));
    if (obtained === undefined) throw source.refused();
    return obtained;
  }

  async function findKept(tokens: TokenSet, entry: SessionEntry): Promise<ObtainedToken | undefined> {
    try {
      return await kept.find(source.keyOf(tokens), async () => {
        const obtained = await source.obtain(tokens, entry);
        if (obtained === undefined) throw new NotTaken();
        return obtained;
      });
    } catch (error) {
      if (error instanceof NotTaken) return undefined;
      throw error;
    }
  }

  return {
    find,
    session: 'required',
    usesSessionToken: true,
    personal: true,
    headerNames: [...new Set(['authorization', source.headerName.toLowerCase()])],
    headers(call) {
      const { entry } = call;
      if (entry === undefined) return [];
      const found = find(call, entry);
      return found instanceof Promise ? found.then(({ lines }) => lines) : found.lines;
    },
    mayRenew: ({ entry }) => entry !== undefined && refresher.mayRetryAfterRejection(entry, route),
    async renew(call) {
      const { entry, obtained: rejected } = call;
      call.obtained = undefined;
      if (entry === undefined || rejected === undefined) return;
      kept.drop(keyFor(entry.session), rejected);
      if (source.isAboutSubject && entry.session.tokens.refreshToken !== undefined) {
        await refresher.refreshAfterRejection(entry, rejected.subject);
      }
    },
    recordRejection({ entry }) {
      if (entry !== undefined) refresher.recordRejection(entry, route);
    },
  };
}
