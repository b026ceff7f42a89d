/**
 * Login transactions: what must be remembered between sending the browser to the provider and its coming back. Each is
 * a sealed cookie of its own, named after its `state`, so that logins in several tabs don't meet; five at most, for
 * abandoned ones must not pile up. They are Lax, for the provider's redirect back is cross-site (RFC 6265bis 5.6.7).
 */
import { createHash } from 'node:crypto';
import type { Config } from '../config.ts';
import type { Events } from '../events.ts';
import type { Store } from '../store/store.ts';
import { nowSeconds } from '../token-set.ts';
import { cookieNames, cookiePairs, loginCookie } from './cookies.ts';
import { createSealer } from './seal.ts';

const lifetimeSeconds = 600;
const maximumTransactions = 5;

export interface LoginTransaction {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly maxAge: number | undefined;
  readonly returnTo: string;
  readonly startedAt: number;
  /** Whether the login was `prompt=none`, whose failure is an answer rather than an error. */
  readonly silent: boolean;
  /** The session that this login replaces: the callback doesn't get its Strict cookie. */
  readonly replaces: { readonly id: string; readonly expiresAt: number } | undefined;
}

export type LoginTransactions = ReturnType<typeof createLoginTransactions>;

export function createLoginTransactions(
  config: Config,
  { store, events }: { readonly store: Store; readonly events: Events },
) {
  const names = cookieNames(config.secure);
  const sealer = createSealer(config.secrets, 'login transaction');

  /** The cookie's name starts with its time, so that the oldest can be told without opening any. */
  function nameOf(state: string, startedAt: number): string {
    return `${names.loginPrefix}${startedAt.toString(36)}-${stateHash(state)}`;
  }

  /**
   * The cookie's deletion may be lost with the answer, and a repeated request would show the provider a used code, for
   * which it may revoke the session's tokens (RFC 6749 4.1.2). A store that is down holds no login up.
   */
  async function isFirst(state: string): Promise<boolean> {
    try {
      return await store.compareAndSet(`login:${stateHash(state)}`, undefined, 'used', lifetimeSeconds);
    } catch (cause) {
      events.emit({ type: 'store.failed', cause });
      return true;
    }
  }

  function namesIn(header: string | undefined): string[] {
    const found = new Set<string>();
    for (const [name] of cookiePairs(header ?? '')) if (name.startsWith(names.loginPrefix)) found.add(name);
    return [...found];
  }

  return {
    /** @returns the `Set-Cookie` lines that begin the transaction and evict the oldest beyond five */
    async begin(transaction: Omit<LoginTransaction, 'startedAt'>, header: string | undefined): Promise<string[]> {
      const startedAt = nowSeconds();
      const sealed = await sealer.seal(toSevenBits(JSON.stringify({ ...transaction, startedAt })));
      const evicted = namesIn(header)
        .toSorted()
        .toReversed()
        .slice(maximumTransactions - 1);
      return [
        loginCookie(nameOf(transaction.state, startedAt), sealed, lifetimeSeconds, names),
        ...evicted.map((name) => loginCookie(name, '', 0, names)),
      ];
    },

    /**
     * Takes the transaction that `state` belongs to. It ends with this, whatever becomes of it.
     * @returns the transaction, undefined if there is none or it is too old, and the `Set-Cookie` lines that delete it
     */
    async take(
      state: string,
      header: string | undefined,
    ): Promise<{ transaction: LoginTransaction | undefined; cookies: string[] }> {
      const suffix = `-${stateHash(state)}`;
      let transaction: LoginTransaction | undefined;
      const cookies = new Set<string>();
      for (const [name, value] of cookiePairs(header ?? '')) {
        if (!name.startsWith(names.loginPrefix) || !name.endsWith(suffix)) continue;
        cookies.add(loginCookie(name, '', 0, names));
        const opened = await sealer.unseal(value);
        if (opened === undefined) continue;
        const candidate = JSON.parse(opened) as LoginTransaction;
        // The age counts, not the cookie's own expiry: a browser or a thief may keep it.
        const current = nowSeconds() < candidate.startedAt + lifetimeSeconds;
        if (candidate.state === state && current) transaction = candidate;
      }
      if (transaction !== undefined && !(await isFirst(state))) transaction = undefined;
      return { transaction, cookies: [...cookies] };
    },
  };
}

function stateHash(state: string): string {
  return createHash('sha256').update(state).digest('base64url').slice(0, 10);
}

/** JSON may write any character as an escape; the seal takes 7-bit text. */
function toSevenBits(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
