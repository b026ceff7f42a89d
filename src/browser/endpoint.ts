/** Calls of Sallyport's own endpoints. */

/**
 * A call of Sallyport's, or a sign-in in a popup, that failed. `code` is one of the problem codes of the server, or
 * `http_502` and the like where something else answered.
 *
 * @example
 * ```ts
 * import { refresh, SallyportError } from 'sallyport/browser';
 *
 * export async function staySignedIn(): Promise<string> {
 *   try {
 *     return (await refresh()).authenticated ? 'signed in' : 'signed out';
 *   } catch (error) {
 *     if (error instanceof SallyportError) return `not now: ${error.code}`;
 *     throw error; // no connection
 *   }
 * }
 * ```
 */
export class SallyportError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.name = 'SallyportError';
    this.code = code;
  }
}

export async function callEndpoint(path: string, method = 'GET'): Promise<unknown> {
  // Browsers without Sec-Fetch-Site prove with X-CSRF that the call comes from the app's own pages.
  const response = await fetch(path, { method, headers: { 'x-csrf': '1' } });
  // A page instead of JSON comes from a proxy or a service worker in between.
  const body: unknown = await response.json().catch(() => undefined);
  if (response.ok && body instanceof Object) return body;
  const code = body instanceof Object && 'code' in body ? body.code : undefined;
  throw new SallyportError(typeof code === 'string' ? code : `http_${response.status}`);
}
