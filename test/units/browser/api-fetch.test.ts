/** `apiFetch` by what it is answered: Sallyport's own answers are dealt with, the API's pass as they are. */
import { describe, expect, test, vi } from 'vitest';
import { createSallyport, type SallyportProblem, type SessionView } from '../../../src/browser/index.ts';
import { fakeBrowser, held, origin, problem, signedIn, signedOut, type FakeBrowser } from './fake-browser.ts';

/** Answers calls of the API with these, then with 200; the rest as always. */
function script(browser: FakeBrowser, ...answers: Array<Response | Promise<Response>>): Request[] {
  const { answer } = browser;
  const requests: Request[] = [];
  browser.answer = (request) => {
    if (!new URL(request.url).pathname.startsWith('/api/')) return answer(request);
    requests.push(request);
    return answers.shift() ?? new Response('fine');
  };
  return requests;
}

const orders = '/api/orders';

describe('the API’s own answer passes unread', () => {
  const json = { 'content-type': 'application/problem+json' };
  const body = JSON.stringify({ type: 'https://api.example.com/errors#busy', code: 'login_required' });

  test.each([
    ['a success', new Response('{"code":"login_required"}', { status: 200, headers: json })],
    ['a 401 with another scheme', problem('login_required', 401, { 'www-authenticate': 'Bearer' })],
    ['a 401 that names no scheme', new Response(body, { status: 401, headers: json })],
    [
      'a 401 with Sallyport’s scheme beside others',
      problem('login_required', 401, { 'www-authenticate': 'Basic, Sallyport' }),
    ],
    ['a 401 of another type', problem('login_required', 401, { 'content-type': 'application/json' })],
    ['a 403 problem', problem('request_forbidden', 403)],
    ['a 429 problem', problem('too_many_requests', 429)],
    ['a 502 problem', problem('upstream_unavailable', 502)],
    ['a 503 page', new Response('busy', { status: 503, headers: { 'retry-after': '1' } })],
  ])('%s', async (_story, answer) => {
    const browser = fakeBrowser();
    const onLoginRequired = vi.fn<() => void>();
    const requests = script(browser, answer);
    const clone = vi.spyOn(answer, 'clone');
    const { apiFetch, current } = createSallyport({ onLoginRequired });
    expect(await apiFetch(orders)).toBe(answer);
    expect(clone).not.toHaveBeenCalled();
    expect(requests).toHaveLength(1);
    expect(onLoginRequired).not.toHaveBeenCalled();
    expect(current()).toBeUndefined();
  });

  test('a 503 problem of its own type, which stays readable', async () => {
    const browser = fakeBrowser();
    const own = JSON.stringify({ type: 'https://api.example.com/errors#busy', code: 'store_unavailable' });
    const answer = new Response(own, { status: 503, headers: { ...json, 'retry-after': '1' } });
    const requests = script(browser, answer);
    expect(await (await createSallyport().apiFetch(orders, { method: 'POST' })).text()).toBe(own);
    expect(requests).toHaveLength(1);
  });

  test.each(['', 'null', '7', '<html>'])('a 503 body of Sallyport’s type that is no problem: %j', async (text) => {
    const browser = fakeBrowser();
    const requests = script(browser, new Response(text, { status: 503, headers: { ...json, 'retry-after': '1' } }));
    expect(await (await createSallyport().apiFetch(orders)).text()).toBe(text);
    expect(requests).toHaveLength(1);
  });
});

test('a call carries X-CSRF and all that it was given; a call of another origin is left as it is', async () => {
  const browser = fakeBrowser();
  const requests: Request[] = [];
  browser.answer = (request) => {
    requests.push(request);
    return new Response('fine');
  };
  const { apiFetch } = createSallyport();
  const init = { method: 'PUT', body: 'seven', headers: { 'X-Mine': '1' } };
  await apiFetch(orders, init);
  await apiFetch(new Request(`${origin}/api/orders/1`, init));
  await apiFetch(new URL('https://elsewhere.example/api'), init);
  await apiFetch(`${origin}.elsewhere.example/api`, init);
  const seen = requests.map(({ url, method, headers }) => [url, method, headers.get('x-mine'), headers.get('x-csrf')]);
  expect(seen).toEqual([
    [`${origin}/api/orders`, 'PUT', '1', '1'],
    [`${origin}/api/orders/1`, 'PUT', '1', '1'],
    ['https://elsewhere.example/api', 'PUT', '1', null],
    [`${origin}.elsewhere.example/api`, 'PUT', '1', null],
  ]);
  expect(await Promise.all(requests.map((request) => request.text()))).toEqual(Array(4).fill('seven'));
});

describe('a session that is over', () => {
  test.each(['login_required', 'session_expired'])('%s marks it, and the answer stays readable', async (code) => {
    const browser = fakeBrowser();
    const { apiFetch, session, current } = createSallyport();
    const other = createSallyport();
    other.subscribe(() => undefined);
    await session();
    await browser.settle();
    browser.session = signedOut;
    script(browser, problem(code));
    const answer = await apiFetch(orders);
    expect(await answer.json()).toMatchObject({ code });
    expect(current()).toEqual(signedOut);
    await browser.settle();
    expect(other.current()).toEqual(signedOut);
  });

  test('calls that fail together share one call of the hook, and are repeated once with their bodies', async () => {
    const browser = fakeBrowser();
    browser.session = signedOut;
    const hook = held();
    const onLoginRequired = vi.fn<(problem: SallyportProblem) => Promise<boolean>>(async () => {
      await hook.answer;
      browser.session = signedIn('b');
      return true;
    });
    const requests = script(browser, problem('login_required'), problem('session_expired'), problem('login_required'));
    const { apiFetch, current } = createSallyport({ onLoginRequired });
    const calls = ['a', 'b', 'c'].map((body) => apiFetch(orders, { method: 'POST', body }));
    await browser.settle();
    hook.release(new Response());
    const answers = await Promise.all(calls);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(onLoginRequired).toHaveBeenCalledTimes(1);
    expect(onLoginRequired.mock.calls[0]?.[0]).toMatchObject({ code: 'login_required', loginUrl: '/bff/login' });
    expect(await Promise.all(requests.slice(3).map((request) => request.text()))).toEqual(['a', 'b', 'c']);
    expect(current()).toEqual(signedIn('b'));
  });

  test.each([[false], [undefined], [true]])(
    'a hook that resolves %s while nobody signs in repeats nothing',
    async (agrees) => {
      const browser = fakeBrowser();
      browser.session = signedOut;
      const onLoginRequired = vi.fn<() => Promise<boolean>>(async () => agrees as boolean);
      const requests = script(browser, problem('login_required'), problem('login_required'));
      const { apiFetch } = createSallyport({ onLoginRequired });
      expect((await apiFetch(orders)).status).toBe(401);
      expect((await apiFetch(orders)).status).toBe(401);
      expect(requests).toHaveLength(2);
      // The first is over when the second fails.
      expect(onLoginRequired).toHaveBeenCalledTimes(2);
    },
  );

  test('a hook that fails fails the calls that wait for it', async () => {
    const browser = fakeBrowser();
    browser.session = signedOut;
    script(browser, problem('login_required'));
    const { apiFetch } = createSallyport({ onLoginRequired: () => Promise.reject(new Error('refused')) });
    await expect(apiFetch(orders)).rejects.toThrow('refused');
  });

  test('a call that began before the sign-in is repeated without asking', async () => {
    const browser = fakeBrowser();
    const onLoginRequired = vi.fn<() => void>();
    const { apiFetch, session, current } = createSallyport({ onLoginRequired });
    await session();
    const late = held();
    const requests = script(browser, late.answer);
    const call = apiFetch(orders);
    browser.session = signedIn('b');
    await session(0);
    late.release(problem('session_expired'));
    expect((await call).status).toBe(200);
    expect(requests).toHaveLength(2);
    expect(onLoginRequired).not.toHaveBeenCalled();
    expect(current()).toEqual(signedIn('b'));
  });

  test('a call that was answered to an earlier cookie is repeated, and nobody has to sign in', async () => {
    const browser = fakeBrowser();
    const onLoginRequired = vi.fn<() => void>();
    const requests = script(browser, problem('login_required'), problem('login_required'));
    const { apiFetch, subscribe } = createSallyport({ onLoginRequired });
    const listener = vi.fn<(view: SessionView) => void>();
    subscribe(listener);
    await browser.settle();
    const [one, two] = await Promise.all([apiFetch(orders), apiFetch(orders)]);
    expect([one.status, two.status]).toEqual([200, 200]);
    expect(requests).toHaveLength(4);
    expect(onLoginRequired).not.toHaveBeenCalled();
    expect(listener.mock.calls).toEqual([[signedIn()]]);
    // One look for both.
    expect(browser.calls.filter((call) => call === 'GET /bff/session')).toHaveLength(2);
  });

  test('a look that fails leaves the call its answer, and what is known as it is', async () => {
    const browser = fakeBrowser();
    const { apiFetch, session, current } = createSallyport();
    await session();
    browser.answer = ({ url }) => {
      if (url.endsWith(orders)) return problem('login_required');
      throw new TypeError('offline');
    };
    expect((await apiFetch(orders)).status).toBe(401);
    expect(current()).toEqual(signedIn());
  });

  test('a HEAD, whose answer has no body, is dealt with by its status and headers', async () => {
    const browser = fakeBrowser();
    browser.session = signedOut;
    const onLoginRequired = vi.fn<(problem: SallyportProblem) => boolean>(() => {
      browser.session = signedIn();
      return true;
    });
    const { headers } = problem('login_required');
    const requests = script(browser, new Response(null, { status: 401, headers }));
    const { apiFetch } = createSallyport({ onLoginRequired });
    expect((await apiFetch(orders, { method: 'HEAD' })).status).toBe(200);
    expect(requests.map(({ method }) => method)).toEqual(['HEAD', 'HEAD']);
    expect(onLoginRequired.mock.calls).toEqual([[{ code: 'login_required' }]]);
  });

  describe('another person', () => {
    const bob: SessionView = { ...signedIn('b'), user: { sub: 'bob' } };

    test.each([
      ['whose session ended while it was filled in', false],
      ['whose session the page believed in', true],
    ])('who signs in does not send what the one before has typed, %s', async (_story, isBelievedIn) => {
      const browser = fakeBrowser();
      const requests = script(browser, problem('session_expired'));
      const { apiFetch, session, current } = createSallyport({
        onLoginRequired: () => {
          browser.session = bob;
          return true;
        },
      });
      await session();
      browser.session = signedOut;
      if (!isBelievedIn) await session(0);
      expect((await apiFetch(orders, { method: 'POST', body: 'alice’s' })).status).toBe(401);
      expect(requests).toHaveLength(1);
      expect(current()).toEqual(bob);
      // What bob sends himself.
      expect((await apiFetch(orders, { method: 'POST', body: 'bob’s' })).status).toBe(200);
    });

    test('who has signed in elsewhere meanwhile does not either, and nobody is asked', async () => {
      const browser = fakeBrowser();
      const onLoginRequired = vi.fn<() => void>();
      const requests = script(browser, problem('session_expired'));
      const { apiFetch, session } = createSallyport({ onLoginRequired });
      await session();
      browser.session = bob;
      expect((await apiFetch(orders, { method: 'POST', body: 'alice’s' })).status).toBe(401);
      expect(requests).toHaveLength(1);
      expect(onLoginRequired).not.toHaveBeenCalled();
    });

    test('of whom a page knew nobody before may send it', async () => {
      const browser = fakeBrowser();
      browser.session = signedOut;
      const { apiFetch, session } = createSallyport({
        onLoginRequired: () => {
          browser.session = bob;
          return true;
        },
      });
      await session();
      const requests = script(browser, problem('login_required'));
      expect((await apiFetch(orders, { method: 'POST', body: 'first' })).status).toBe(200);
      expect(requests).toHaveLength(2);
    });
  });

  test('a caller that aborts waits for no hook', async () => {
    const browser = fakeBrowser();
    browser.session = signedOut;
    script(browser, problem('login_required'));
    const { apiFetch } = createSallyport({ onLoginRequired: () => new Promise(() => undefined) });
    const abort = new AbortController();
    const call = apiFetch(orders, { signal: abort.signal });
    await browser.settle();
    abort.abort(new Error('left the page'));
    await expect(call).rejects.toThrow('left the page');
  });
});

test('a step-up has its own hook, and ends no session', async () => {
  const browser = fakeBrowser();
  const { apiFetch, session, current } = createSallyport({
    onLoginRequired: () => Promise.reject(new Error('not this one')),
    onStepUpRequired: async ({ code }) => code === 'step_up_required',
  });
  await session();
  const requests = script(browser, problem('step_up_required'));
  expect((await apiFetch(orders)).status).toBe(200);
  expect(requests).toHaveLength(2);
  expect(current()).toEqual(signedIn());
});

describe('a body that Sallyport could not send twice', () => {
  test('is sent again', async () => {
    const browser = fakeBrowser();
    const requests = script(browser, problem('repeat_required'));
    expect((await createSallyport().apiFetch(orders, { method: 'POST', body: 'large' })).status).toBe(200);
    expect(await requests[1]?.text()).toBe('large');
  });

  test('is not, if it is a stream, which is not copied either', async () => {
    const browser = fakeBrowser();
    const requests = script(browser, problem('repeat_required'));
    const body = new Blob(['large']).stream();
    const clone = vi.spyOn(Request.prototype, 'clone');
    const call = createSallyport().apiFetch(orders, { method: 'POST', body, duplex: 'half' } as RequestInit);
    expect(await (await call).json()).toMatchObject({ code: 'repeat_required' });
    expect(requests).toHaveLength(1);
    expect(clone).not.toHaveBeenCalled();
  });
});

describe('an outage of Sallyport', () => {
  test.each(['provider_unavailable', 'store_unavailable'])('%s: the call waits for Retry-After', async (code) => {
    const browser = fakeBrowser();
    const requests = script(browser, problem(code, 503));
    const call = createSallyport().apiFetch(orders, { method: 'POST', body: 'once' });
    await browser.pass(1.9);
    expect(requests).toHaveLength(1);
    await browser.pass(1.2);
    expect((await call).status).toBe(200);
    expect(await requests[1]?.text()).toBe('once');
  });

  test('is not waited for if it lasts longer than ten seconds', async () => {
    const browser = fakeBrowser();
    const requests = script(browser, problem('store_unavailable', 503, { 'retry-after': '11' }));
    expect((await createSallyport().apiFetch(orders)).status).toBe(503);
    expect(requests).toHaveLength(1);
  });

  test('a caller that aborts waits no longer', async () => {
    const browser = fakeBrowser();
    const requests = script(browser, problem('store_unavailable', 503));
    const abort = new AbortController();
    const call = createSallyport().apiFetch(orders, { signal: abort.signal });
    await browser.settle();
    abort.abort();
    await expect(call).rejects.toMatchObject({ name: 'AbortError' });
    await browser.pass(20);
    expect(requests).toHaveLength(1);
  });
});

test.each([
  ['login_required', 401],
  ['session_expired', 401],
  ['step_up_required', 401],
  ['repeat_required', 401],
  ['navigation_required', 401],
  ['provider_unavailable', 503],
  ['store_unavailable', 503],
])('%s again and again: the call ends with it, repeated once at most', async (code, status) => {
  const browser = fakeBrowser();
  const always = { onLoginRequired: () => true, onStepUpRequired: () => true };
  const { apiFetch, session } = createSallyport(always);
  await session();
  const { answer } = browser;
  let requests = 0;
  browser.answer = (request) => {
    if (!request.url.endsWith(orders)) return answer(request);
    requests++;
    return problem(code, status);
  };
  const call = apiFetch(orders);
  await browser.pass(60);
  expect(await (await call).json()).toMatchObject({ code });
  expect(requests).toBe(2);
});
