/**
 * What `exchange`, `phantom` and `introspect` have in common: they ask the provider for what a call carries, with the
 * session's access token. A warm call finds its header lines by the session's form, which never changes; behind that they
 * are kept by the hash of the access token.
 */
import { nowSeconds } from '../clock.ts';
import type { Session } from '../session/session.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { Claims, TokenSet } from '../token-set.ts';
import { createFreshSubject } from './fresh-subject.ts';
import type { Kept, KeptTokens } from './kept-tokens.ts';
import type { Refresher } from './refresh.ts';
import type { TokenPolicy, TokenCall } from './token-policy.ts';

/** A token that was obtained, and how it is sent. */
export interface ObtainedToken extends Kept {
  readonly lines: readonly string[];
  /** The session's access token for which it was obtained. */
  readonly subject: string;
  /** What the provider says of that one; undefined where it was not asked. */
  readonly claims: Claims | undefined;
}

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
): TokenPolicy & { readonly find: (entry: SessionEntry) => ObtainedToken | Promise<ObtainedToken> } {
  const { route } = source;
  const bySession = new WeakMap<Session, ObtainedToken>();
  const withFreshSubject = createFreshSubject(route, refresher);

  function findWarm(session: Session): ObtainedToken | undefined {
    const warm = bySession.get(session);
    return warm !== undefined && nowSeconds() < warm.dueAt ? warm : undefined;
  }

  function find(entry: SessionEntry): ObtainedToken | Promise<ObtainedToken> {
    return findWarm(entry.session) ?? obtain(entry);
  }

  async function obtain(entry: SessionEntry): Promise<ObtainedToken> {
    const obtained = await withFreshSubject(entry, (tokens) => findKept(tokens, entry));
    if (obtained === undefined) throw source.refused();
    bySession.set(entry.session, obtained);
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

  function send(call: TokenCall, { lines }: ObtainedToken): readonly string[] {
    call.sentToken = lines[1];
    return lines;
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
      const found = find(entry);
      return found instanceof Promise ? found.then((obtained) => send(call, obtained)) : send(call, found);
    },
    mayRenew: ({ entry }) => entry !== undefined && refresher.mayRetryAfterRejection(entry, route),
    async renew({ entry, sentToken }) {
      const rejected = entry === undefined ? undefined : rejectedBy(entry, sentToken);
      if (entry === undefined || rejected === undefined) return;
      kept.drop(source.keyOf(entry.session.tokens), rejected);
      const isRefreshable = entry.session.tokens.refreshToken !== undefined;
      if (source.isAboutSubject && isRefreshable) await refresher.refreshAfterRejection(entry, rejected.subject);
    },
    recordRejection({ entry }) {
      if (entry !== undefined) refresher.recordRejection(entry, route);
    },
  };

  /** What was sent, unless another call has obtained something newer since. */
  function rejectedBy({ session }: SessionEntry, sentToken: string | undefined): ObtainedToken | undefined {
    const candidates = [bySession.get(session), kept.peek(source.keyOf(session.tokens))];
    return candidates.find((one) => one?.lines[1] === sentToken);
  }
}
