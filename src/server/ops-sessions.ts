/**
 * The operator's sessions API on the listener for operations: lists and ends sessions of a person or of a provider's
 * session. Whoever calls it shows the token of the configuration (RFC 6750 2.1). No answer holds a token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { OperatorSessions } from '../bff.ts';
import { isoTime, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { asBffError, BffError } from '../http/errors.ts';
import { isWithin, pathOf } from '../http/paths.ts';
import type { RegisteredSession } from '../session/registry.ts';
import { personName, providerSessionName } from '../session/session-names.ts';

export interface OperatorApi {
  /** Whether a request is for it. */
  readonly takes: (request: IncomingMessage) => boolean;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

interface OperatorDeps {
  readonly sessions: OperatorSessions;
  readonly onError: (error: BffError, request: IncomingMessage) => void;
}

const root = '/sessions';
/** The form of a session's key. */
const handleForm = /^[\w-]{43}$/;

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Whose sessions a call is about: a person's, or those of one session at the provider. */
type Subject = { readonly sub: string; readonly sid?: undefined } | { readonly sid: string; readonly sub?: undefined };

/** @returns undefined where no token is configured: then there is no such API */
export function createOperatorApi(config: Config, { sessions, onError }: OperatorDeps): OperatorApi | undefined {
  const { opsToken } = config.listen;
  if (opsToken === undefined) return undefined;
  const expected = hashOf(opsToken);

  async function answer(request: IncomingMessage): Promise<Answer> {
    if (!isAuthorized(request)) return unauthorized(request.headers.authorization);
    const { method = '', url = '/' } = request;
    const path = pathOf(url);
    const query = new URLSearchParams(url.slice(path.length));
    if (path !== root) return method === 'DELETE' ? endOne(path.slice(root.length + 1)) : notAllowed('DELETE');
    if (method === 'GET') return list(subjectOf(query));
    return method === 'DELETE' ? endAll(subjectOf(query)) : notAllowed('GET, DELETE');
  }

  /** Compares hashes, so that the time of it tells neither the token nor its length. */
  function isAuthorized({ headers }: IncomingMessage): boolean {
    const [, token] = /^bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
    return token !== undefined && timingSafeEqual(hashOf(token), expected);
  }

  async function list(subject: Subject): Promise<Answer> {
    if (!sessions.registry.isOn) throw new BffError('route_not_found', 'session.registry is off: nothing is listed.');
    const listed = await sessions.registry.list(nameOf(subject));
    return { status: 200, body: { sessions: listed.map(viewOf) } };
  }

  /** Whether there is such a session is not known: one of which the store has no record can have a cookie. */
  async function endOne(handle: string): Promise<Answer> {
    if (!handleForm.test(handle)) throw new BffError('route_not_found', 'That is no handle of a session.');
    await sessions.endByKey(handle, 'operator');
    return { status: 204 };
  }

  /** Those that are listed, at once; and by their name those too of which the store has no record. */
  async function endAll(subject: Subject): Promise<Answer> {
    const issuedBefore = nowSeconds();
    await sessions.registry.endAll(nameOf(subject), 'operator');
    await sessions.revoke({ ...subject, issuedBefore, reason: 'operator' });
    return { status: 204 };
  }

  function nameOf({ sub, sid }: Subject): string {
    return sub === undefined ? providerSessionName(config.issuer, sid) : personName(config.issuer, sub);
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      send(response, await answer(request));
    } catch (error) {
      const converted = asBffError(error);
      onError(converted, request);
      send(response, problemOf(converted));
    }
  }

  return {
    takes: ({ url = '/' }) => isWithin(url, root),
    handle: (request, response) => detach(handle(request, response), () => response.destroy()),
  };
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** @throws {BffError} `request_invalid` unless there is exactly one of them, once */
function subjectOf(query: URLSearchParams): Subject {
  const [sub, ...furtherSubs] = query.getAll('sub');
  const [sid, ...furtherSids] = query.getAll('sid');
  if (furtherSubs.length + furtherSids.length === 0) {
    if (sub !== undefined && sub !== '' && sid === undefined) return { sub };
    if (sid !== undefined && sid !== '' && sub === undefined) return { sid };
  }
  throw new BffError('request_invalid', 'Name the sessions by "sub" or by "sid", and by one of them.');
}

function viewOf({ handle, createdAt, lastSeenAt, userAgent, address }: RegisteredSession): unknown {
  const times = { createdAt: isoTime(createdAt), lastSeenAt: isoTime(lastSeenAt) };
  return { handle, ...times, userAgent: userAgent ?? null, address: address ?? null };
}

/** RFC 6750 3 and 3.1: without credentials there is no error code. */
function unauthorized(given: string | undefined): Answer {
  const challenge = given === undefined ? 'Bearer realm="sessions"' : 'Bearer realm="sessions", error="invalid_token"';
  return {
    status: 401,
    headers: { 'www-authenticate': challenge },
    body: {
      title: 'Unauthorized',
      status: 401,
      detail: 'Send "Authorization: Bearer" with the token of this listener.',
    },
  };
}

function notAllowed(allow: string): never {
  throw new BffError('method_not_allowed', `This address takes ${allow}.`, { headers: { allow } });
}

function problemOf({ title, status, message: detail, code, headers }: BffError): Answer {
  return { status, headers, body: { title, status, detail, code } };
}

function send(response: ServerResponse, { status, headers = {}, body }: Answer): void {
  const type = status < 400 ? 'application/json' : 'application/problem+json';
  response.writeHead(status, {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(body === undefined ? {} : { 'content-type': type }),
    ...headers,
  });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
