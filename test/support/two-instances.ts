/** Two instances in this process that share a store, each by a link of its own that a test can cut, slow or deafen. */
import { onTestFinished } from 'vitest';
import { nowSeconds } from '../../src/clock.ts';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { createEvents, type BffEvent } from '../../src/events.ts';
import type { Provider } from '../../src/oidc/provider.ts';
import type { ResourceRequest } from '../../src/oidc/resources.ts';
import { createSessions, type OpenSession, type SessionEntry } from '../../src/session/sessions.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { TokenSet } from '../../src/token-set.ts';
import { createRefresher } from '../../src/tokens/refresh.ts';
import { linkStore, type Link } from './linked-store.ts';

const input: ConfigInput = {
  origin: 'http://localhost:3000',
  issuer: 'http://localhost:4000',
  client: { id: 'app', secret: 'not much of one' },
  secrets: ['a sealing secret of more than 32 characters'],
};

export const loginAt = 1_700_000_000;

export function tokensOf(number: number, person: Readonly<Record<string, unknown>> = {}): TokenSet {
  const claims = { sub: 'alice', sid: 'at the provider', iat: loginAt, ...person };
  const idToken = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2lnbmF0dXJl`;
  const accessTokenExpiresAt = nowSeconds() + 300;
  return { accessToken: `access-${number}`, accessTokenExpiresAt, refreshToken: `refresh-${number}`, idToken };
}

/** As of a provider that has had no outage: nobody waits in a line. */
export const inFreeTurn: Provider['inRefreshTurn'] = (_key, _request, task) =>
  task({ run: (call) => call(), pass: () => undefined });

/** Grants at once, or when the test says so; a refresh token counts once. */
function createProvider() {
  let valid = 0;
  let gate: Promise<void> = Promise.resolve();
  const redeemed: string[] = [];
  const provider = {
    async refresh(previous: TokenSet, _userInfo: unknown, _key: string, request?: ResourceRequest) {
      const { refreshToken = '', accessToken } = previous;
      redeemed.push(refreshToken);
      await gate;
      if (refreshToken !== `refresh-${valid}`) {
        return { granted: false, reason: 'refresh_rejected', cause: undefined } as const;
      }
      valid += 1;
      const grant = { tokens: tokensOf(valid), userInfo: undefined, subject: 'alice' };
      if (request === undefined) return { granted: true, grant } as const;
      const token = {
        accessToken: `${request.resources.join()}-${valid}`,
        issuedAt: nowSeconds(),
        expiresAt: nowSeconds() + 300,
      };
      const tokens = { ...grant.tokens, accessToken, accessTokenExpiresAt: previous.accessTokenExpiresAt };
      return { granted: true, grant: { ...grant, tokens }, resource: { request, token } } as const;
    },
    inRefreshTurn: inFreeTurn,
    revoke: async () => undefined,
  };
  return {
    provider: provider as unknown as Provider,
    redeemed,
    hold(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
    /** As if another redemption, of which nobody here knows, had used the token. */
    useUp: () => (valid += 1),
  };
}

export function configOf(changes: Partial<ConfigInput> = {}): ReturnType<typeof resolveConfig> {
  return resolveConfig({ ...input, ...changes });
}

export function startInstance(store: Store, provider: Provider, changes: Partial<ConfigInput> = {}) {
  const config = configOf(changes);
  const link: Link = {};
  const events = createEvents();
  const seen: BffEvent[] = [];
  events.subscribe((event) => void seen.push(event));
  const sessions = createSessions(config, { store: linkStore(store, link), events });
  const refresher = createRefresher(config, { provider, sessions, events });
  const open = async (cookie: string) => sessions.open(cookie);
  const openActive = async (cookie: string): Promise<OpenSession> => {
    const opened = await open(cookie);
    if (opened.state !== 'active') throw new Error(`the session is ${opened.state}`);
    return opened;
  };
  return { config, sessions, refresher, link, seen, open, openActive };
}

export function startTwo(changes?: Partial<ConfigInput>) {
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  const provider = createProvider();
  const here = startInstance(store, provider.provider, changes);
  const there = startInstance(store, provider.provider, changes);
  return { store, provider, here, there };
}

/** The cookie that a browser is to get. */
export function cookieOf({ cookieText }: SessionEntry): string {
  if (cookieText === undefined) throw new Error('a browser has shown the newest cookie, and it is not kept');
  return `session-3000=${cookieText}`;
}

/** The cookie that an answer gives to the browser; undefined if it gives none. */
export function cookieIn(lines: readonly string[]): string | undefined {
  return lines[0]?.split(';')[0];
}

export async function signIn({ sessions }: ReturnType<typeof startInstance>): Promise<string> {
  return cookieOf(await sessions.begin(tokensOf(0), undefined));
}

export function fail(): Promise<void> {
  return Promise.reject(new Error('the link is cut'));
}
