/**
 * The demo's API: notes, kept per person in memory. It is an ordinary OAuth 2.0 resource server: it wants a JWT access
 * token (RFC 9068) in `Authorization: Bearer` (RFC 6750), uses no cookies and knows nothing of Sallyport.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Context, MiddlewareHandler } from 'hono';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';
import type { JWTVerifyGetKey } from 'jose';
import { LRUCache } from 'lru-cache';
import { closeServer, listen } from './listen.ts';
import type { ListenAddress } from './listen.ts';
import { createTimeline } from './timeline.ts';
import type { Timeline, TimelineEntry } from './timeline.ts';

export interface DemoApiOptions extends ListenAddress {
  /** Whose tokens are accepted: the `iss` claim. */
  issuer: string;
  /** The `aud` claim that names this API. */
  audience: string;
  /** The provider's signing keys; found through its metadata when absent. Fetched with the first call, not before. */
  jwksUrl?: string;
  /** What the page shows of the events; default: only what the API itself notices. */
  timeline?: Timeline;
}

export interface DemoApi {
  /** The API's base, with its path: `http://127.0.0.1:9100/v1`. */
  url: string;
  close(): Promise<void>;
}

interface Note {
  id: string;
  text: string;
  createdAt: string;
  /** Whether only a fresh sign-in may delete it. */
  guarded: boolean;
}

/** What the API takes from a verified access token. */
interface Caller {
  subject: string;
  /** The token's `jti`: names the token, but can't be used in its place. */
  tokenId: string;
  expiresAt: Date;
  /** How strong the sign-in was (`acr`). */
  acr: string | undefined;
  /** When the person signed in (`auth_time`), in seconds since 1970. */
  signedInAt: number | undefined;
}

type Env = { Variables: { caller: Caller } };

const requiredScope = 'notes';
/** The sign-in that the strongbox asks for: name, password and PIN. */
const strongSignIn = 'urn:example:pin';
/** How fresh a sign-in must be that deletes a guarded note. */
const freshSeconds = 30;
const heartbeatMs = 20_000;
const maxPeople = 1000;
const maxNotesPerPerson = 100;
const maxNoteLength = 200;
const maxBodyBytes = 4096;

/** Starts the API; rejects with `EADDRINUSE` when the port is taken. */
export async function startDemoApi(options: DemoApiOptions): Promise<DemoApi> {
  const app = createApi(options);
  // `overrideGlobalObjects` would swap the process's Request and Response, and the API shares its process.
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      console.error('The demo API failed:', error);
      response.destroy();
    });
  });
  const port = await listen(server, options);
  return { url: `http://${options.host}:${port}/v1`, close: () => closeServer(server) };
}

function createApi(options: DemoApiOptions): Hono<Env> {
  const notesOf = new LRUCache<string, Note[]>({
    max: maxPeople,
    memoMethod: () => [noteOf('Where the spare key is', true)],
  });
  const refusedTokens = new LRUCache<string, true>({ max: 10_000 });
  const { timeline = createTimeline() } = options;
  const app = new Hono<Env>().basePath('/v1');

  app.use(requireToken(options, refusedTokens, timeline));

  app.get('/notes', (c) => c.json({ notes: notesOf.memo(c.var.caller.subject) }));

  app.post('/notes', async (c) => {
    const text = await readNoteText(c.req.raw);
    if (text === undefined)
      return sendError(c, 400, `A note is JSON with a "text" of 1 to ${maxNoteLength} characters.`);
    const notes = notesOf.memo(c.var.caller.subject);
    if (notes.length >= maxNotesPerPerson) return sendError(c, 409, `${maxNotesPerPerson} notes are enough.`);
    const note = noteOf(text, false);
    notes.unshift(note);
    return c.json(note, 201);
  });

  app.delete('/notes/:id', (c) => {
    const notes = notesOf.memo(c.var.caller.subject);
    const index = notes.findIndex((note) => note.id === c.req.param('id'));
    if (index === -1) return sendError(c, 404, 'There is no such note.');
    if (notes[index]?.guarded === true && !isFresh(c.var.caller)) {
      // RFC 9470 section 3: says how recent a sign-in would do.
      c.header('www-authenticate', `Bearer error="insufficient_user_authentication", max_age="${freshSeconds}"`);
      return sendError(c, 401, 'Only a fresh sign-in may delete this note.');
    }
    notes.splice(index, 1);
    return c.body(null, 204);
  });

  app.get('/token', (c) => c.json(c.var.caller));

  app.get('/strongbox', (c) => {
    if (c.var.caller.acr === strongSignIn)
      return c.json({ content: 'A brass key, a map of the cellars, and a note: well guarded.' });
    // RFC 9470 section 3: says which sign-in would do. Sallyport turns it into an address for that sign-in.
    c.header('www-authenticate', `Bearer error="insufficient_user_authentication", acr_values="${strongSignIn}"`);
    return sendError(c, 401, 'The strongbox opens only after a sign-in with a PIN.');
  });

  app.get('/timeline', (c) => sendTimeline(c, timeline));

  app.post('/token/expire', (c) => {
    const { tokenId, expiresAt } = c.var.caller;
    refusedTokens.set(tokenId, true, { ttl: Math.max(1, expiresAt.getTime() - Date.now()) });
    return c.body(null, 204);
  });

  app.notFound((c) => sendError(c, 404, 'There is no such resource.'));
  app.onError((error, c) => {
    console.error('The demo API failed:', error);
    return sendError(c, 500, 'The API failed.');
  });
  return app;
}

function noteOf(text: string, guarded: boolean): Note {
  return { id: randomUUID(), text, createdAt: new Date().toISOString(), guarded };
}

function isFresh({ signedInAt }: Caller): boolean {
  return signedInAt !== undefined && Date.now() / 1000 - signedInAt <= freshSeconds;
}

/** Sends what has happened, and then what happens, until the caller leaves or the API stops. */
function sendTimeline(c: Context<Env>, timeline: Timeline): Response {
  const { subject } = c.var.caller;
  const left = Promise.withResolvers<void>();
  let send: ((entry: TimelineEntry) => void) | undefined;
  const unfollow = timeline.follow(subject, (entry) => send?.(entry));
  if (unfollow === undefined) return sendError(c, 429, 'Too many pages follow this timeline.');
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => left.resolve());
    // A write that fails means that the reader has left, which the stream reports by itself.
    send = (entry) => void stream.writeSSE({ data: JSON.stringify(entry) });
    await stream.writeSSE({ event: 'history', data: JSON.stringify(timeline.read(subject)) });
    const heartbeat = setInterval(() => void stream.write(':\n\n'), heartbeatMs);
    await left.promise;
    clearInterval(heartbeat);
    unfollow();
  });
}

/** Lets a call pass only with a valid access token for this API (RFC 6750 section 3.1 names the refusals). */
function requireToken(
  options: DemoApiOptions,
  refusedTokens: LRUCache<string, true>,
  timeline: Timeline,
): MiddlewareHandler<Env> {
  const findKey = createKeyFinder(options);
  /** The calls that were refused, and with which token: one that comes again with another token is repeated. */
  const refusedCalls = new LRUCache<string, { tokenId: string; count: number }>({ max: 10_000, ttl: 10_000 });

  function note({ subject, tokenId }: Caller, call: string, isRefused: boolean): void {
    const key = `${subject} ${call}`;
    const refused = refusedCalls.get(key);
    if (isRefused) {
      refusedCalls.set(key, { tokenId, count: (refused?.tokenId === tokenId ? refused.count : 0) + 1 });
      timeline.record(subject, 'token-refused');
    } else if (refused && refused.count > 0 && refused.tokenId !== tokenId) {
      refused.count -= 1;
      timeline.record(subject, 'call-repeated');
    }
  }

  return async function checkToken(c, next) {
    const token = /^Bearer +([\w.~+/=-]+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
    if (token === undefined) {
      // RFC 6750 section 3.1: a call without any credentials is told no error code.
      c.header('www-authenticate', 'Bearer');
      return sendError(c, 401, 'An access token is needed.');
    }
    const verified = await verify(token, findKey, options);
    const isRefused = verified !== undefined && refusedTokens.has(verified.caller.tokenId);
    if (verified) note(verified.caller, `${c.req.method} ${c.req.path}`, isRefused);
    if (verified === undefined || isRefused) {
      c.header('www-authenticate', 'Bearer error="invalid_token"');
      return sendError(c, 401, 'The access token is not valid (any more).');
    }
    if (!verified.scopes.includes(requiredScope)) {
      c.header('www-authenticate', `Bearer error="insufficient_scope", scope="${requiredScope}"`);
      return sendError(c, 403, `The access token lacks the scope "${requiredScope}".`);
    }
    c.set('caller', verified.caller);
    c.header('token-id', verified.caller.tokenId);
    return next();
  };
}

async function verify(
  token: string,
  findKey: JWTVerifyGetKey,
  options: DemoApiOptions,
): Promise<{ caller: Caller; scopes: string[] } | undefined> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, findKey, {
      issuer: options.issuer,
      audience: options.audience,
      algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      requiredClaims: ['exp', 'sub', 'jti'],
    });
    // RFC 9068 section 4: another type, such as an ID token or a logout token, is no access token.
    const type = protectedHeader.typ?.toLowerCase().replace(/^application\//, '');
    if (type !== undefined && type !== 'at+jwt') return undefined;
    const { sub, jti, exp, scope, acr, auth_time: signedInAt } = payload;
    if (sub === undefined || jti === undefined || exp === undefined) return undefined;
    const caller = {
      subject: sub,
      tokenId: jti,
      expiresAt: new Date(exp * 1000),
      acr: typeof acr === 'string' ? acr : undefined,
      signedInAt: typeof signedInAt === 'number' ? signedInAt : undefined,
    };
    return { caller, scopes: typeof scope === 'string' ? scope.split(' ') : [] };
  } catch (error) {
    if (saysTokenIsInvalid(error)) return undefined;
    throw error;
  }
}

/** Tells a bad token from keys that can't be fetched: the latter is the API's trouble, not the caller's. */
function saysTokenIsInvalid(error: unknown): boolean {
  if (!(error instanceof errors.JOSEError)) return false;
  const aboutKeys: string[] = [errors.JOSEError.code, errors.JWKSTimeout.code, errors.JWKSInvalid.code];
  return !aboutKeys.includes(error.code);
}

/** Finds the provider's keys with the first token that arrives, so that the API starts before its provider does. */
function createKeyFinder({ issuer, jwksUrl }: DemoApiOptions): JWTVerifyGetKey {
  let keySet: JWTVerifyGetKey | undefined;
  return async function findKey(header, token) {
    keySet ??= createRemoteJWKSet(new URL(jwksUrl ?? (await discoverJwksUrl(issuer))));
    return keySet(header, token);
  };
}

async function discoverJwksUrl(issuer: string): Promise<string> {
  const response = await fetch(`${issuer}/.well-known/openid-configuration`, { signal: AbortSignal.timeout(5000) });
  const metadata: unknown = response.ok ? await response.json() : undefined;
  if (typeof metadata === 'object' && metadata !== null && 'jwks_uri' in metadata) return String(metadata.jwks_uri);
  throw new Error(`The provider's metadata at ${issuer} names no keys (status ${response.status}).`);
}

async function readNoteText(request: Request): Promise<string | undefined> {
  const body = parseJson(await readLimited(request));
  if (typeof body !== 'object' || body === null || !('text' in body) || typeof body.text !== 'string') return undefined;
  const text = body.text.trim();
  return text.length >= 1 && text.length <= maxNoteLength ? text : undefined;
}

/** The body as text; nothing of it when it is larger than any note can be. */
async function readLimited(request: Request): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBodyBytes) return '';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function sendError(c: Context, status: 400 | 401 | 403 | 404 | 409 | 429 | 500, message: string): Response {
  return c.json({ message }, status);
}
