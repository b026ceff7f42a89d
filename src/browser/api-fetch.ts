/**
 * `fetch` for calls of the app's API, which knows Sallyport's own answers (RFC 9457 problems with a `code`) and leaves
 * the API's alone. A call is repeated once for each reason, so that none goes in circles.
 */
import type { SessionView } from '../session-view.ts';
import { abortable } from './abortable.ts';
import { shared } from './shared.ts';
import { idOf } from './tabs.ts';

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
  lastPerson: () => string | undefined,
  look: () => Promise<SessionView>,
  onLoginRequired?: Hook,
  onStepUpRequired?: Hook,
): typeof fetch {
  // A look that fails says nothing, and the call keeps its answer.
  const isSignedIn = () => look().then(idOf, () => '') as Promise<unknown> as Promise<boolean>;
  // The answer may be to a cookie that is no more, so that nobody has to sign in.
  const askForLogin = shared(
    async (problem: SallyportProblem) =>
      (await isSignedIn()) || (((await onLoginRequired?.(problem)) as boolean) && isSignedIn()),
  );
  const askForStepUp = shared(async (problem: SallyportProblem) => onStepUpRequired?.(problem) as Promise<boolean>);

  /** Yields whether the call may be repeated, when it may: nothing has reached the API, or it has refused the call. */
  async function remedy(problem: SallyportProblem, { status, headers }: Response): Promise<boolean> {
    if (status === 401) {
      return (
        problem.code === 'repeat_required' ||
        (problem.code === 'step_up_required' ? askForStepUp : askForLogin)(problem)
      );
    }
    // Multiplied, the text is a number.
    const waitMs = 1000 * (headers.get('retry-after') as unknown as number);
    // `type`, which leads to the code's documentation, tells it from a problem of the API's own.
    const isOutage = /#(provider|store)_unavailable$/.test(problem.type) && waitMs <= 10_000;
    // A moment longer than asked for, so that not all calls come at once.
    if (isOutage) await new Promise((resolve) => setTimeout(resolve, waitMs + 1000 * Math.random()));
    return isOutage;
  }

  return async function apiFetch(input, init) {
    const request = new Request(input, init);
    if (!request.url.startsWith(`${location.origin}/`)) return fetch(request);
    request.headers.set('x-csrf', '1');
    // A copy of a stream would hold all of it in memory.
    const isStream = (init as { readonly duplex?: 'half' } | undefined)?.duplex;
    const met: string[] = [];
    const who = lastPerson();
    for (;;) {
      const response = await fetch(isStream ? request : request.clone());
      const problem = await problemOf(response);
      if (!problem || met.includes(problem.code)) return response;
      met.push(problem.code);
      const mayRepeat = await abortable(remedy(problem, response), request.signal);
      // What one person has typed must not be sent as another.
      if (!mayRepeat || isStream || (who && who !== lastPerson())) return response;
    }
  };
}

/** Sallyport's problem; undefined for what the API answers, which stays unread unless it looks the same. */
async function problemOf(response: Response): Promise<SallyportProblem | null | undefined> {
  const { status, headers } = response;
  if (status !== 503 && (status !== 401 || headers.get('www-authenticate') !== 'Sallyport')) return undefined;
  if (!headers.get('content-type')?.includes('problem+json')) return undefined;
  return (
    response
      .clone()
      .json()
      // The answer to HEAD has no body.
      .catch(() => ({ code: 'login_required' })) as Promise<SallyportProblem | null>
  );
}
