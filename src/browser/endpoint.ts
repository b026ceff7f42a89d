/** Calls of Sallyport's own endpoints. */

/**
 * How a call of Sallyport's, or a sign-in in a popup, fails. `code` is one of the problem codes of the server, or
 * `http_502` and the like where something else answered, or `unexpected`: an answer without a session, or a login address
 * of another origin. Without a connection `fetch` has its own error, a TypeError.
 *
 * @example
 * ```ts
 * import { refresh, type SallyportError } from 'sallyport/browser';
 *
 * export async function staySignedIn(): Promise<string> {
 *   try {
 *     return (await refresh()).authenticated ? 'signed in' : 'signed out';
 *   } catch (error) {
 *     return `not now: ${(error as Partial<SallyportError>).code ?? 'no connection'}`;
 *   }
 * }
 * ```
 */
export interface SallyportError extends Error {
  readonly code: string;
}

export function failure(code: string): SallyportError {
  return Object.assign(new Error(code), { code });
}

export async function callEndpoint<T extends object>(path: string, method?: 'POST'): Promise<T> {
  // Without a method it is a GET. Browsers without Sec-Fetch-Site prove with X-CSRF that the call comes from the app's own
  // pages.
  const response = await fetch(path, { method: method as 'POST', headers: { 'x-csrf': '1' } });
  // A page instead of JSON comes from a proxy or a service worker in between.
  const body = (await response.json().catch(() => undefined)) as (T & { readonly code?: string }) | undefined;
  if (response.ok && body) return body;
  throw failure(body?.code ?? `http_${response.status}`);
}
