/**
 * Sign-outs whose browser is at the provider, which knows one registered address to send it back to, and sends back the
 * `state` (RP-Initiated Logout 3). The state is sealed, so that a foreign one is known; it says that a sign-out was begun
 * here, but not by whom. What must be known of this browser waits in a cookie, named after the state. It is Lax, because
 * the way back is cross-site.
 */
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { cookieNames, cookiePairs, laxCookie, maximumCookieBytes, stateHash } from './cookies.ts';
import { pack, unpack } from './packing.ts';
import { createSealer } from './seal.ts';

/** How long a person may take at the provider. */
const returnSeconds = 600;

/** A browser that comes back from a sign-out. */
export interface LogoutReturn {
  /** Whether the sign-out was of this browser. */
  readonly isRemembered: boolean;
  /** Where the person is to land; undefined: at `logout.returnTo`. */
  readonly returnTo: string | undefined;
}

export type LogoutReturns = ReturnType<typeof createLogoutReturns>;

export function createLogoutReturns(config: Config) {
  const names = cookieNames(config);
  const prefix = names.logoutReturnPrefix;
  const sealer = createSealer(config.secrets, 'logout return');
  const landingPath = new URL(config.logout.returnTo, config.origin).pathname;

  function beginState(): Promise<string> {
    return sealer.seal(String(nowSeconds()));
  }

  /**
   * Has the browser remember a sign-out. It remembers one at a time.
   * @param header the request's Cookie header
   * @returns the `Set-Cookie` lines
   */
  async function remember(state: string, returnTo: string | undefined, header: string | undefined): Promise<string[]> {
    const line = await cookieOf(state, returnTo);
    return [line.length <= maximumCookieBytes ? line : await cookieOf(state, undefined), ...forget(header)];
  }

  async function cookieOf(state: string, returnTo: string | undefined): Promise<string> {
    const sealed = await sealer.seal(pack({ fields: [state, returnTo ?? null], tokens: [] }));
    return laxCookie(nameOf(state), sealed, returnSeconds, names);
  }

  function nameOf(state: string): string {
    return `${prefix}${stateHash(state)}`;
  }

  /** The state in the address of a return. @param target path and query, as a stranger sent them */
  function stateIn(target: string): string | undefined {
    const queryAt = target.indexOf('?');
    if (target.slice(0, queryAt) !== landingPath || !target.includes('state=', queryAt)) return undefined;
    const [state, ...more] = new URLSearchParams(target.slice(queryAt)).getAll('state');
    return more.length > 0 ? undefined : state;
  }

  function valuesFor(state: string, header: string | undefined): string[] {
    if (header?.includes(prefix) !== true) return [];
    const name = nameOf(state);
    return [...cookiePairs(header)].filter(([present]) => present === name).map(([, value]) => value);
  }

  /** @returns undefined for a request that comes back from no sign-out of ours, or too late */
  function find(target: string, header: string | undefined): LogoutReturn | undefined {
    const state = stateIn(target);
    if (state === undefined || !isRecent(state)) return undefined;
    const [value = '', ...more] = valuesFor(state, header);
    // Browsers keep one cookie of a name: another one is planted.
    const text = more.length > 0 ? undefined : sealer.unseal(value);
    const fields = text === undefined ? undefined : unpack(text)?.fields;
    if (!Array.isArray(fields) || fields[0] !== state) return { isRemembered: false, returnTo: undefined };
    return { isRemembered: true, returnTo: typeof fields[1] === 'string' ? fields[1] : undefined };
  }

  function isRecent(state: string): boolean {
    const begunAt = sealer.unseal(state);
    // A seal that holds no time, as the cookie's, is none of a state.
    return begunAt !== undefined && nowSeconds() < Number(begunAt) + returnSeconds;
  }

  /** The `Set-Cookie` lines that delete what sign-outs have left in the browser. */
  function forget(header: string | undefined): string[] {
    const present = new Set<string>();
    for (const [name] of cookiePairs(header ?? '')) if (name.startsWith(prefix)) present.add(name);
    return [...present].map((name) => laxCookie(name, '', 0, names));
  }

  /** Whether a request may be a return that this browser remembers, by its address and the names of its cookies. */
  function mayBeRemembered(target: string, header: string | undefined): boolean {
    const state = stateIn(target);
    return state !== undefined && valuesFor(state, header).length > 0;
  }

  return { beginState, remember, find, forget, mayBeRemembered };
}
