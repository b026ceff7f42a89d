/**
 * Login transactions: what must be remembered between the redirect to the provider and the callback. Each is a sealed
 * cookie of its own, named after its `state`, so that logins in several tabs don't collide. They are Lax, because the
 * provider's redirect back is cross-site (RFC 6265bis 5.6.7).
 *
 * Any site can make a browser begin logins, by a link, and abandoned ones must not fill its Cookie header until servers
 * reject it. So a transaction is small: `state`, `nonce`, the PKCE verifier and the session's DPoP key are derived from one
 * secret, and what the app asked for travels in the `state` (`login-state.ts`). Five are kept, the newest.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { Store } from '../store/store.ts';
import type { DpopKey } from '../token-set.ts';
import { nowSeconds } from '../clock.ts';
import { cookieNames, cookiePairs, isLoginCookie, laxCookie, stateHash } from './cookies.ts';
import { readState, writeState, type LoginIntent } from './login-state.ts';
import { createSealer } from './seal.ts';
import type { ReplacedSession } from './sessions.ts';

export type { LoginIntent } from './login-state.ts';

const maximumTransactions = 5;

/** What the app asks of a login, and what the request showed. */
export interface LoginRequest extends LoginIntent {
  readonly maxAge: number | undefined;
  /** Whether the login is `prompt=none`, whose failure is a result for the app rather than an error. */
  readonly silent: boolean;
  /** The session that this login replaces: the callback doesn't get its Strict cookie. */
  readonly previousSession: ReplacedSession | undefined;
  /** Whether the request shows the session that the browser may have: from another site it carries no Strict cookie. */
  readonly showedSession: boolean;
}

export interface LoginTransaction extends LoginRequest {
  readonly state: string;
  readonly nonce: string;
  /** Of PKCE (RFC 7636 4.1). */
  readonly verifier: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
  /** What the session's tokens are to be bound to; undefined for bearer tokens. */
  readonly dpopKey: DpopKey | undefined;
}

/** What an authorization response belongs to. */
export interface FoundLogin {
  /** Undefined if this browser has none for it, or one that is too old. */
  readonly transaction: LoginTransaction | undefined;
  /** What the app asked for, whether or not there is a transaction; undefined for a state that is not ours. */
  readonly intent: LoginIntent | undefined;
  /** The `Set-Cookie` lines that delete the transaction. */
  readonly cookies: readonly string[];
}

export type LoginTransactions = ReturnType<typeof createLoginTransactions>;

export function createLoginTransactions(
  config: Config,
  { store, events }: { readonly store: Store; readonly events: Events },
) {
  const names = cookieNames(config);
  const sealer = createSealer(config.secrets, 'login transaction');
  const stateSealer = createSealer(config.secrets, 'login state');
  const { lifetimeSeconds } = config.login;
  /** No two cookies have the same time in their names, though logins may begin within one millisecond. */
  let latestName = 0;

  /**
   * @param header the request's Cookie header
   * @param endedState of a transaction that ends with this response, and takes no place
   * @returns the transaction, and the `Set-Cookie` lines that begin it and evict the oldest beyond five
   */
  async function begin(
    request: LoginRequest,
    header: string | undefined,
    endedState?: string,
  ): Promise<{ transaction: LoginTransaction; cookies: string[] }> {
    const seed = randomBytes(16);
    const { dpop } = config.client;
    const { state: id, ...secrets } = secretsOf(seed, dpop);
    const state = await writeState(id, request, stateSealer);
    const startedAt = nowSeconds();
    const sealed = await sealer.seal(writeContent({ ...request, seed, startedAt, dpop }));
    const present = namesIn(header);
    return {
      transaction: { ...request, ...secrets, state, startedAt },
      cookies: [
        laxCookie(nameOf(state, present), sealed, Math.ceil(lifetimeSeconds), names),
        ...evict(endedState === undefined ? present : present.filter(isNotOf(endedState)), maximumTransactions - 1),
      ],
    };
  }

  /**
   * The cookie's name starts with its time in milliseconds, so that the oldest are known without unsealing any. It comes
   * after those that are present, because another instance, whose clock may be ahead, may have named them.
   */
  function nameOf(state: string, present: readonly string[]): string {
    latestName = Math.max(latestName + 1, Date.now());
    const time = Math.max(latestName, ...present.map((name) => timeIn(name) + 1));
    return `${names.loginPrefix}${time.toString(36).padStart(8, '0')}-${stateHash(state)}`;
  }

  /** When the login of a cookie began. 0 for a time that no instance writes: a planted name must not evict real ones. */
  function timeIn(name: string): number {
    const time = Number.parseInt(name.slice(names.loginPrefix.length), 36);
    return time > Date.now() + lifetimeSeconds * 1000 ? 0 : time;
  }

  function namesIn(header: string | undefined): string[] {
    const found = new Set<string>();
    for (const [name] of cookiePairs(header ?? '')) if (isLoginCookie(name, names)) found.add(name);
    return [...found];
  }

  function evict(present: readonly string[], kept: number): string[] {
    return present
      .toSorted((one, other) => timeIn(one) - timeIn(other))
      .slice(0, Math.max(0, present.length - kept))
      .map((name) => laxCookie(name, '', 0, names));
  }

  /** Finds the transaction that `state` belongs to. */
  function find(state: string, header: string | undefined): FoundLogin {
    const suffix = `-${stateHash(state)}`;
    const read = readState(state, stateSealer);
    let transaction: LoginTransaction | undefined;
    const cookies = new Set<string>();
    for (const [name, value] of cookiePairs(header ?? '')) {
      if (!isLoginCookie(name, names) || !name.endsWith(suffix)) continue;
      cookies.add(laxCookie(name, '', 0, names));
      const opened = read === undefined ? undefined : open(value, read.id);
      if (read !== undefined && opened !== undefined) transaction = { ...opened, ...read.intent, state };
    }
    return { transaction, intent: read?.intent, cookies: [...cookies] };
  }

  function open(value: string, id: string): Omit<LoginTransaction, 'state' | keyof LoginIntent> | undefined {
    const content = sealer.unseal(value);
    const opened = content === undefined ? undefined : readContent(content);
    // The age decides, not the cookie's own expiry: a browser or a thief may keep the cookie.
    if (opened === undefined || nowSeconds() >= opened.startedAt + lifetimeSeconds) return undefined;
    const { state: ownId, ...secrets } = secretsOf(opened.seed, opened.dpop);
    return ownId === id ? { ...opened, ...secrets } : undefined;
  }

  /**
   * Marks the state as used. The response that deletes the cookie can be lost; a repeated callback would then present a
   * used code, for which the provider may revoke the tokens (RFC 6749 4.1.2). If the store is down, the login proceeds.
   * @returns false if it was used before
   */
  async function markStateUsed(state: string): Promise<boolean> {
    try {
      return await store.useOnce(`login:${stateHash(state)}`, Math.ceil(lifetimeSeconds));
    } catch (cause) {
      events.emit({ type: 'store.failed', cause });
      return true;
    }
  }

  return {
    begin,
    find,
    markStateUsed,
    /** Whether a login is under way in this browser. */
    isUnderWay: (header: string | undefined) => namesIn(header).length > 0,
    /**
     * The `Set-Cookie` lines that evict the oldest transactions beyond five: concurrent ones do not count each other.
     */
    evictSurplus: (header: string | undefined) => evict(namesIn(header), maximumTransactions),
  };
}

type LoginSecrets = Pick<LoginTransaction, 'state' | 'nonce' | 'verifier' | 'dpopKey'>;

/** The values of a login, derived from one secret by HKDF (RFC 5869). Those of 32 bytes have 43 characters. */
function secretsOf(seed: Uint8Array, dpop: DpopSetting): LoginSecrets {
  const derive = (what: string, bytes = 32) =>
    Buffer.from(hkdfSync('sha256', seed, '', `login ${what}`, bytes)).toString('base64url');
  return {
    state: derive('state'),
    nonce: derive('nonce'),
    verifier: derive('verifier'),
    dpopKey: dpop === 'off' ? undefined : { algorithm: dpop, seed: derive('dpop', 16) },
  };
}

type DpopSetting = Config['client']['dpop'];

/** What is in the cookie. The setting is that of the login's beginning: its key is named to the provider already. */
interface Content extends Omit<LoginRequest, keyof LoginIntent> {
  readonly seed: Buffer;
  readonly startedAt: number;
  readonly dpop: DpopSetting;
}

/** Bits of the flags that say what key the session is to have. */
const dpopFlags = { off: 0, ES256: 4, EdDSA: 8 } as const satisfies Record<DpopSetting, number>;

function writeContent({ seed, startedAt, dpop, maxAge, silent, previousSession, showedSession }: Content): string {
  return JSON.stringify([
    seed.toString('base64url'),
    startedAt,
    maxAge ?? null,
    (silent ? 1 : 0) + (showedSession ? 2 : 0) + dpopFlags[dpop],
    ...(previousSession === undefined ? [] : [previousSession.id, previousSession.expiresAt]),
  ]);
}

/** Undefined for what another version wrote. */
function readContent(text: string): Content | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields)) return undefined;
  const [seed, startedAt, maxAge, flags, id, expiresAt] = fields as readonly unknown[];
  if (typeof seed !== 'string' || typeof startedAt !== 'number' || typeof flags !== 'number') return undefined;
  return {
    seed: Buffer.from(seed, 'base64url'),
    startedAt,
    maxAge: typeof maxAge === 'number' ? maxAge : undefined,
    silent: (flags & 1) !== 0,
    showedSession: (flags & 2) !== 0,
    dpop: (flags & dpopFlags.ES256) !== 0 ? 'ES256' : (flags & dpopFlags.EdDSA) !== 0 ? 'EdDSA' : 'off',
    previousSession: typeof id === 'string' ? { id, expiresAt: Number(expiresAt) } : undefined,
  };
}

function isNotOf(state: string): (name: string) => boolean {
  const suffix = `-${stateHash(state)}`;
  return (name) => !name.endsWith(suffix);
}
