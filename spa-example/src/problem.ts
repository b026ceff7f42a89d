/** Errors as the app meets them: Sallyport's `application/problem+json` (RFC 9457), the API's own, a lost network. */

/** A call that failed, with text a person can read. */
export class CallError extends Error {
  override readonly name = 'CallError';
  /** The HTTP status; 0 when there was no answer at all. */
  readonly status: number;
  /** Sallyport's stable error code; absent when the error is the API's own. */
  readonly code: string | undefined;
  /** Where to sign in again; Sallyport gives it with its own 401. */
  readonly loginUrl: string | undefined;

  constructor(message: string, about: { status: number; code?: string | undefined; loginUrl?: string | undefined }) {
    super(message);
    this.status = about.status;
    this.code = about.code;
    this.loginUrl = about.loginUrl;
  }

  /** Whether the session is over, so that only signing in again helps. */
  get endsSession(): boolean {
    return this.code === 'login_required' || this.code === 'session_expired';
  }
}

/** Calls our own origin. Rejects with a `CallError` unless the answer is a success. */
export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('accept', 'application/json');
  // Browsers without Sec-Fetch-Site prove with this header that the call comes from our own pages.
  headers.set('x-csrf', '1');
  const response = await fetch(path, { ...init, headers }).catch(() => {
    throw new CallError('The server did not answer. Are you offline?', { status: 0 });
  });
  if (!response.ok) throw await readError(response);
  return response;
}

/** The text to show for anything that was thrown. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function readError(response: Response): Promise<CallError> {
  const { status } = response;
  const type = response.headers.get('content-type') ?? '';
  const body: Record<string, unknown> = type.includes('json') ? await response.json() : {};
  const texts = [body['title'], body['detail'], body['message']].filter((text) => typeof text === 'string');
  const message = texts.length > 0 ? texts.join(' ') : fallbackMessage(status);
  const code = typeof body['code'] === 'string' ? body['code'] : undefined;
  const loginUrl = typeof body['loginUrl'] === 'string' ? body['loginUrl'] : undefined;
  return new CallError(message, { status, code, loginUrl });
}

function fallbackMessage(status: number): string {
  if (status === 401) return 'The API did not accept the call (401).';
  if (status === 403) return 'You may not do that (403).';
  if (status >= 500) return `The server has a problem (${status}). Try again in a moment.`;
  return `The call failed (${status}).`;
}
