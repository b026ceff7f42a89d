/**
 * `fetch` for calls of the app's API, which knows Sallyport's own answers (RFC 9457 problems with a `code`) and leaves
 * the API's alone. A call is repeated once for each reason, so that none goes in circles.
 */
import { abortable } from './abortable.ts';
import { idOf, type KnownSession } from './known-session.ts';

/** What Sallyport answers instead of the API (RFC 9457). */
export interface SallyportProblem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** The id of the request, as in the server's log. */
  readonly instance: string;
  readonly code: string;
  /** Where to sign in, in a 401. */
  readonly loginUrl?: string;
  /** In a `step_up_required`: kinds of sign-in of which one is needed, the preferred first. */
  readonly acrValues?: readonly string[];
  /** In a `step_up_required`: how many seconds ago the sign-in may have been. */
  readonly maxAge?: number;
}

/** Called with the problem; true: the call is repeated. */
export type Hook = (problem: SallyportProblem) => Promise<boolean> | boolean | void;

export function createApiFetch(
  { session, current }: Pick<KnownSession, 'session' | 'current'>,
  learnForAll: KnownSession['learnForAll'],
  onLoginRequired?: Hook,
  onStepUpRequired?: Hook,
): typeof fetch {
  const askForLogin = shared(onLoginRequired);
  const askForStepUp = shared(onStepUpRequired);

  /** Yields whether the call may be repeated, when it may. */
  async function remedy(problem: SallyportProblem, retryAfter: number): Promise<boolean> {
    const { code, loginUrl = '' } = problem;
    if (code === 'repeat_required') return true;
    if (code === 'step_up_required') return askForStepUp(problem);
    if (code === 'login_required' || code === 'session_expired') {
      learnForAll({ authenticated: false, loginUrl });
      return (await askForLogin(problem)) && (await session(0)).authenticated;
    }
    // Nothing has reached the API, or it has refused the call: any method may be repeated. `type`, which leads to the
    // code's documentation, tells it from a problem of the API's own.
    const isOutage = /#(provider|store)_unavailable$/.test(problem.type) && retryAfter <= 10;
    // A moment longer than asked for, so that not all calls come at once.
    if (isOutage) await new Promise((resolve) => setTimeout(resolve, 1000 * (retryAfter + Math.random())));
    return isOutage;
  }

  return async function apiFetch(input, init) {
    const request = new Request(input, init);
    if (!request.url.startsWith(`${location.origin}/`)) return fetch(request);
    request.headers.set('x-csrf', '1');
    // A copy of a stream would hold all of it in memory.
    const isStream = init?.body instanceof ReadableStream;
    const met: string[] = [];
    for (;;) {
      const before = idOf(current());
      const response = await fetch(isStream ? request : request.clone());
      const problem = await problemOf(response);
      if (!problem) return response;
      // The call began before a sign-in that this page knows of by now.
      const now = idOf(current());
      const reason = now && now !== before ? '' : problem.code;
      if (met.includes(reason)) return response;
      met.push(reason);
      const mayRepeat = reason === '' || remedy(problem, Number(response.headers.get('retry-after')));
      if (!(await abortable(mayRepeat, request.signal)) || isStream) return response;
    }
  };
}

/** Calls that fail together share one call of the hook. */
function shared(hook: Hook | undefined): (problem: SallyportProblem) => Promise<boolean> {
  let running: Promise<boolean> | undefined;
  const run = async (problem: SallyportProblem) => hook?.(problem) as Promise<boolean>;
  return (problem) =>
    (running ??= run(problem).finally(() => {
      running = undefined;
    }));
}

/** Sallyport's problem; undefined for what the API answers, which stays unread unless it looks the same. */
async function problemOf(response: Response): Promise<SallyportProblem | null | undefined> {
  const { status, headers } = response;
  if (status !== 503 && (status !== 401 || headers.get('www-authenticate') !== 'Sallyport')) return undefined;
  if (!headers.get('content-type')?.startsWith('application/problem+json')) return undefined;
  return response
    .clone()
    .json()
    .catch(() => undefined) as Promise<SallyportProblem | null | undefined>;
}
