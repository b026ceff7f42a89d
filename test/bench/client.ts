/**
 * A small browser: exact headers, a cookie jar, redirects. It signs in for real through a contender and the provider.
 */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

import type { RequestSpec } from './measure.ts';

/** An answer, read whole. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

const browserHeaders = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'accept-language': 'en-GB,en;q=0.9,de;q=0.8',
  'accept-encoding': 'gzip, deflate, br, zstd',
  'sec-ch-ua': '"Chromium";v="142", "Not?A_Brand";v="24"',
  'sec-ch-ua-mobile': '?0',
  'sec-ch-ua-platform': '"Linux"',
};

/** The headers of a page's own `fetch`, as Chromium sends them. */
export function fetchHeaders(origin: string, cookie: string): Record<string, string> {
  return {
    Host: new URL(origin).host,
    Connection: 'keep-alive',
    ...browserHeaders,
    accept: 'application/json',
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'cors',
    'sec-fetch-dest': 'empty',
    referer: `${origin}/orders`,
    ...(cookie === '' ? {} : { cookie }),
  };
}

/** The headers of a navigation typed into the address bar. */
export function navigationHeaders(): Record<string, string> {
  return {
    ...browserHeaders,
    accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'upgrade-insecure-requests': '1',
    'sec-fetch-site': 'none',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-user': '?1',
    'sec-fetch-dest': 'document',
  };
}

/** One GET, with exactly these headers. */
export function httpGet(url: string, headers: Record<string, string>): Promise<Answer> {
  return send(url, 'GET', headers);
}

/** The call that a load generator is going to make. */
export function call(spec: RequestSpec): Promise<Answer> {
  return send(`http://127.0.0.1:${spec.port}${spec.path}`, spec.method, spec.headers, spec.body);
}

function send(url: string, method: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { agent, method, headers }, (response) => {
      let received = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        received += chunk;
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: received }),
      );
    });
    call.on('error', reject).end(body);
  });
}

/**
 * Signs in at `origin` and returns its `Cookie` header.
 * @throws when a hop answers anything but a redirect before the browser is back at the app, signed in
 */
export async function signIn(origin: string, loginPath: string): Promise<string> {
  const jar = new Map<string, string>();
  let url = new URL(loginPath, origin);
  for (let hop = 0; hop < 6; hop += 1) {
    const own = url.origin === origin;
    const cookie = own ? cookieHeader(jar) : '';
    const answer = await httpGet(url.href, {
      host: url.host,
      ...navigationHeaders(),
      ...(cookie === '' ? {} : { cookie }),
    });
    if (own) keepCookies(jar, answer.headers['set-cookie'] ?? []);
    const location = answer.headers.location;
    if (answer.status < 300 || answer.status > 399 || location === undefined) {
      throw new Error(`sign-in: ${url.pathname} answered ${answer.status} ${answer.body.slice(0, 500)}`);
    }
    url = new URL(location, url);
    if (url.origin === origin && url.pathname === '/') return cookieHeader(jar);
  }
  throw new Error(`sign-in at ${origin} goes round in circles`);
}

function cookieHeader(jar: ReadonlyMap<string, string>): string {
  return [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
}

function keepCookies(jar: Map<string, string>, lines: readonly string[]): void {
  for (const line of lines) {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
    const name = pair.slice(0, pair.indexOf('='));
    const value = pair.slice(pair.indexOf('=') + 1);
    const isDeletion = attributes.some((each) => /^max-age=0$/i.test(each) || /^expires=.* 1970 /i.test(each));
    if (isDeletion) jar.delete(name);
    else jar.set(name, value);
  }
}
