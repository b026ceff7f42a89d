/**
 * `fetch` for calls of the app's API, which knows Sallyport's own answers (RFC 9457 problems with a `code`) and leaves
 * the API's alone. Each reason to repeat a call counts once, an outage twice, so that no call goes round in circles.
 */
import { abortable } from './abortable.ts';
import type { KnownSession } from './known-session.ts';

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
}

/** Called with the problem; true: the call is repeated. */
export type Hook = (problem: SallyportProblem) => Promise<boolean> | boolean | void;

/** A call waits no longer for an outage to pass. */
const maximumWaitSeconds = 10;

export function createApiFetch(known: KnownSession, onLoginRequired?: Hook, onStepUpRequired?: Hook): typeof fetch {
  const running = new Map<Hook, Promise<boolean>>();

  /** Calls that fail together share one call of the hook. */
  function ask(hook: Hook | undefined, problem: SallyportProblem): Promise<boolean> | undefined {
    if (hook === undefined) return undefined;
    let answer = running.get(hook);
    if (answer === undefined) {
      answer = Promise.resolve(problem)
        .then(hook)
        .then((agreed) => agreed === true)
        .finally(() => running.delete(hook));
      running.set(hook, answer);
    }
    return answer;
  }

  async function signInAgain(problem: SallyportProblem): Promise<boolean> {
    known.end(undefined, problem.loginUrl);
    const agreed = await ask(onLoginRequired, problem);
    if (agreed && !known.current()?.authenticated) await known.look();
    return agreed === true;
  }

  /** What must happen before the call may be repeated; undefined: it may not. */
  function remedyOf(problem: SallyportProblem, { headers }: Response, changed: boolean): Remedy | undefined {
    switch (problem.code) {
      case 'login_required':
      case 'session_expired':
        // The call began before a sign-in that this page knows of by now.
        return changed && known.current()?.authenticated
          ? { reason: 'late' }
          : { reason: 'login', wait: () => signInAgain(problem) };
      case 'step_up_required':
        return { reason: 'stepUp', wait: () => ask(onStepUpRequired, problem) };
      case 'repeat_required':
        return { reason: 'repeat' };
      // Nothing has reached the API, or it has refused the call: any method may be repeated.
      case 'provider_unavailable':
      case 'store_unavailable': {
        const seconds = Number(headers.get('retry-after'));
        return seconds <= maximumWaitSeconds ? { reason: 'outage', limit: 2, wait: () => pause(seconds) } : undefined;
      }
      default:
        return undefined;
    }
  }

  return async function apiFetch(input, init) {
    const request = input instanceof Request ? input : undefined;
    const address = new URL(input instanceof Request ? input.url : input, document.baseURI);
    if (address.origin !== location.origin) return fetch(input, init);
    const headers = new Headers(init?.headers ?? request?.headers);
    headers.set('x-csrf', '1');
    const repeated: string[] = [];
    for (;;) {
      const before = known.changes();
      const response = await fetch(request ? request.clone() : input, { ...init, headers });
      const problem = await problemOf(response);
      const remedy = problem && remedyOf(problem, response, known.changes() !== before);
      if (remedy === undefined) return response;
      const { reason, limit = 1, wait } = remedy;
      if (repeated.filter((one) => one === reason).length >= limit) return response;
      repeated.push(reason);
      const agreed = wait ? await abortable(Promise.resolve(wait()), init?.signal ?? request?.signal) : true;
      // A stream has been sent: it is gone.
      if (!agreed || init?.body instanceof ReadableStream) return response;
    }
  };
}

interface Remedy {
  readonly reason: string;
  /** How often a call is repeated for this reason; default: once. */
  readonly limit?: number;
  /** Yields whether the call may be repeated then. */
  readonly wait?: () => Promise<boolean> | undefined;
}

/** Sallyport's problem; undefined for what the API answers, which stays unread unless it looks the same. */
async function problemOf(response: Response): Promise<SallyportProblem | undefined> {
  const { status, headers } = response;
  const mark =
    status === 401 ? headers.get('www-authenticate') === 'Sallyport' : status === 503 && headers.has('retry-after');
  if (!mark || !/^application\/problem\+json\b/.test(headers.get('content-type') ?? '')) return undefined;
  const body = (await response
    .clone()
    .json()
    .catch(() => undefined)) as Partial<SallyportProblem> | null | undefined;
  // `type` leads to the code's documentation. An API's own problem type doesn't.
  return body?.code && body.type?.endsWith(`#${body.code}`) ? (body as SallyportProblem) : undefined;
}

/** A moment longer than asked for, so that not all calls come at once. */
function pause(seconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    setTimeout(resolve, 1000 * (seconds + Math.random()), true);
  });
}
