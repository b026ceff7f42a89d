/**
 * An HTTP API on loopback that records what it gets byte for byte and answers what the test scripts.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createRemoteJWKSet, decodeJwt, jwtVerify, type JWTPayload } from 'jose';
import { abortWith, readBody, startListener } from './listener.ts';

export interface ApiRequest {
  method: string;
  /** The request target exactly as it came. */
  url: string;
  rawHeaders: string[];
  headers: IncomingMessage['headers'];
  body: Buffer;
  /** The bearer (or DPoP) token. */
  token: string | undefined;
  /** The token's claims where it is a JWT; not verified unless the API was started with `verify`. */
  claims: JWTPayload | undefined;
}

export interface ApiAnswer {
  status?: number;
  /** Arrays send a header several times. */
  headers?: Record<string, string | string[]>;
  /** Objects are sent as JSON. */
  body?: string | Buffer | Record<string, unknown>;
}

/** Answers a request; it may also write to `response` itself and return `undefined`. */
export type ApiHandler = (
  request: ApiRequest,
  response: ServerResponse,
) => ApiAnswer | undefined | Promise<ApiAnswer | undefined>;

/** Handles a request whose body has not been read: for streaming tests. Nothing is recorded but the head. */
export type RawApiHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface ApiOptions {
  /** Verify the tokens of this issuer with jose and answer 401 for those that fail. */
  verify?: { issuer: string; audience?: string };
}

export interface TestApi {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** The server itself, for upgrade handlers. */
  readonly server: Server;
  readonly requests: ApiRequest[];
  /** The latest request; fails the test where there is none. */
  readonly last: () => ApiRequest;
  /** How many requests are being answered at this moment. */
  readonly inFlight: number;
  /** Answers every request like this from now on; without an argument as at the start. */
  readonly answer: (answer?: ApiHandler | ApiAnswer) => void;
  /** Takes the requests raw, before their bodies are read; without an argument no longer. */
  readonly handleRaw: (handler?: RawApiHandler) => void;
  /** Answers 401 `invalid_token` to the next `times` requests, or to those whose token the predicate names. */
  readonly rejectTokens: (which: number | ((token: string | undefined) => boolean)) => void;
  readonly down: () => Promise<void>;
  readonly up: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const invalidToken: ApiAnswer = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer realm="api", error="invalid_token"' },
  body: { error: 'invalid_token' },
};

/** Starts an API on a free loopback port. */
export async function startApi(options: ApiOptions = {}): Promise<TestApi> {
  const requests: ApiRequest[] = [];
  const keys = options.verify && createRemoteJWKSet(new URL(`${options.verify.issuer}/jwks`));
  let handler: ApiHandler = echo;
  let rawHandler: RawApiHandler | undefined;
  let rejects: (token: string | undefined) => boolean = rejectsNothing;
  let inFlight = 0;

  const listener = await startListener((request, response) => {
    inFlight += 1;
    response.once('close', () => {
      inFlight -= 1;
    });
    if (rawHandler) {
      requests.push(describe(request, Buffer.alloc(0)));
      rawHandler(request, response);
      return;
    }
    serve(request, response).catch(abortWith(response));
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const described = describe(request, await readBody(request));
    requests.push(described);
    const refused = rejects(described.token) || !(await isVerified(described.token));
    const answer = refused ? invalidToken : await handler(described, response);
    if (answer) send(response, answer);
  }

  async function isVerified(token: string | undefined): Promise<boolean> {
    if (!options.verify || !keys) return true;
    if (token === undefined) return false;
    const { issuer, audience = 'https://api.test' } = options.verify;
    return jwtVerify(token, keys, { issuer, audience }).then(
      () => true,
      () => false,
    );
  }

  return {
    url: `http://127.0.0.1:${listener.port}`,
    port: listener.port,
    server: listener.server,
    requests,
    last() {
      const latest = requests.at(-1);
      if (!latest) throw new Error('the API has had no request');
      return latest;
    },
    get inFlight() {
      return inFlight;
    },
    answer(answer = echo) {
      handler = typeof answer === 'function' ? answer : () => answer;
    },
    handleRaw(next) {
      rawHandler = next;
    },
    rejectTokens(which) {
      if (typeof which === 'function') {
        rejects = which;
        return;
      }
      let remaining = which;
      rejects = () => {
        remaining -= 1;
        return remaining >= 0;
      };
    },
    down: () => listener.close(),
    up: () => listener.reopen(),
    close: () => listener.close(),
  };
}

function rejectsNothing(): boolean {
  return false;
}

function echo(request: ApiRequest): ApiAnswer {
  const { claims, method, url } = request;
  return { body: { sub: claims?.sub ?? null, jti: claims?.jti ?? null, path: url, method } };
}

function describe(request: IncomingMessage, body: Buffer): ApiRequest {
  const token = /^(?:bearer|dpop) (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  return {
    method: request.method ?? '',
    url: request.url ?? '',
    rawHeaders: request.rawHeaders,
    headers: request.headers,
    body,
    token,
    claims: token?.split('.').length === 3 ? decodeJwt(token) : undefined,
  };
}

function send(response: ServerResponse, answer: ApiAnswer): void {
  const { status = 200, headers = {}, body = '' } = answer;
  const isJson = !Buffer.isBuffer(body) && typeof body === 'object';
  response.statusCode = status;
  if (isJson) response.setHeader('content-type', 'application/json');
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(isJson ? JSON.stringify(body) : body);
}
