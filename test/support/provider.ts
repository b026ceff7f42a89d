/**
 * A real OpenID provider (oidc-provider) on loopback, behind a scripting layer: every request is recorded and counted,
 * can be failed, delayed, held or dropped, and every answer can be changed on its way out. The issuer is
 * `http://127.0.0.1:PORT`, which is another site than the app's `http://localhost:PORT`, as in real life, unless it is
 * given a public origin.
 */
import { randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage, request as httpRequest, type Server, type ServerResponse } from 'node:http';
import type { JWTPayload } from 'jose';
import type { Provider } from 'oidc-provider';
import { abortWith, readBody, startListener, type Listener } from './listener.ts';
import {
  answerRequest,
  completeSettings,
  createProvider,
  type ProviderOptions,
  type ProviderSettings,
  type User,
} from './provider-configuration.ts';
import { changeJwt, exchangeGrant, phantomJwt } from './provider-further-tokens.ts';
import { createFaultRules, type Endpoint, type Failure, type Faults, type Undo } from './provider-faults.ts';
import {
  mutateIdToken,
  signAs,
  signingKey,
  type IdTokenMutation,
  type JwtHeader,
  type Signing,
  type SigningKey,
} from './provider-keys.ts';
import { withClientOf } from './workload-platform.ts';
import { createProviderStorage, type ProviderStorage } from './provider-storage.ts';

export interface RecordedRequest {
  endpoints: readonly Endpoint[];
  method: string;
  path: string;
  query: Record<string, string>;
  form: Record<string, string>;
  headers: IncomingMessage['headers'];
  /** The other end of its connection. */
  remotePort: number | undefined;
}

export type JsonMutation = (json: Record<string, unknown>) => Record<string, unknown>;
export type CallbackMutation = (parameters: URLSearchParams) => URLSearchParams;
export type SecretKind =
  'accessToken' | 'refreshToken' | 'idToken' | 'code' | 'codeVerifier' | 'clientSecret' | 'clientAssertion';

export interface TestProvider extends Faults {
  readonly issuer: string;
  readonly port: number;
  readonly server: Server;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly settings: ProviderSettings;
  /** How many requests each endpoint has had, failed ones included. */
  readonly calls: Record<Endpoint, number>;
  readonly requests: RecordedRequest[];
  /** How often a refresh token was shown that had been used before, or was in use. */
  readonly reusedRefreshTokens: number;
  /** Every secret that the provider gave out or was shown, with its kind. */
  readonly secrets: ReadonlyMap<string, SecretKind>;
  /** Sets `calls` to 0 and empties `requests`; `secrets` and `reusedRefreshTokens` are kept. */
  readonly resetCalls: () => void;
  /** Stops listening; connections are cut. */
  readonly down: () => Promise<void>;
  /** Listens again on the same port. */
  readonly up: () => Promise<void>;
  /** Signs with a new key from now on; the old one leaves the key set unless `keepOld`. */
  readonly rotateKeys: (options?: { keepOld?: boolean }) => Promise<void>;
  /** Changes the JSON that an endpoint answers with status 200. */
  readonly mutate: (endpoint: Endpoint, mutation: JsonMutation) => Undo;
  readonly mutateDiscovery: (mutation: JsonMutation) => Undo;
  /** Changes the ID token in every answer of the token endpoint (or of one grant) and signs it again. */
  readonly mutateIdToken: (mutation: IdTokenMutation, grant?: 'token' | 'code' | 'refresh') => Undo;
  /** Changes the JWT of every introspection, and signs it again. */
  readonly mutatePhantom: (mutation: IdTokenMutation) => Undo;
  /** Changes the parameters of every redirect back to the client. */
  readonly mutateCallback: (mutation: CallbackMutation) => Undo;
  /** The next redirect back to the client carries this error in place of the code. */
  readonly refuseNext: (error: string, description?: string) => void;
  /** Revokes every grant (of one user): refreshes answer `invalid_grant`. Answers how many entries went. */
  readonly revokeGrants: (user?: User) => number;
  /** Revokes the access tokens alone (of one user): refreshes go on. Answers how many went. */
  readonly revokeAccessTokens: (user?: User) => number;
  /** Revokes the client's own tokens. Answers how many went. */
  readonly revokeClientTokens: () => number;
  /** Ends the user's sessions with the provider; tokens live on. */
  readonly revokeSession: (user?: User) => number;
  /** Signs a JWT with the provider's current key, or forges one, for logout tokens and the like. */
  readonly sign: (claims: JWTPayload, header?: JwtHeader, signing?: Signing) => Promise<string>;
  readonly close: () => Promise<void>;
}

interface Answer {
  status: number;
  headers: Array<[string, string]>;
  body: Buffer;
}

/** The state behind one provider; the functions of this file share it. */
interface Inner {
  settings: ProviderSettings;
  storage: ProviderStorage;
  clientId: string;
  clientSecret: string;
  redirectUris: string[];
  /** The host that browsers ask for, behind TLS. */
  publicHost: string | undefined;
  keys: { current: SigningKey; index: number };
  provider: Provider;
  listener: Listener;
  agent: Agent;
  mutations: Array<{ endpoint: Endpoint; apply: JsonMutation }>;
  phantomMutations: IdTokenMutation[];
  idTokenMutations: Array<{ grant: Endpoint; apply: IdTokenMutation }>;
  callbackMutations: CallbackMutation[];
  secrets: Map<string, SecretKind>;
  spentRefreshTokens: Set<string>;
}

const endpointOfPath: Readonly<Record<string, Endpoint>> = {
  '/.well-known/openid-configuration': 'discovery',
  '/jwks': 'jwks',
  '/auth': 'authorization',
  '/token': 'token',
  '/me': 'userinfo',
  '/token/revocation': 'revocation',
  '/token/introspection': 'introspection',
  '/request': 'pushedAuthorization',
  '/session/end': 'endSession',
};

const endpointOfGrant: Readonly<Record<string, Endpoint>> = {
  authorization_code: 'code',
  refresh_token: 'refresh',
  client_credentials: 'clientCredentials',
  [exchangeGrant]: 'exchange',
};

/** Starts a provider on a free loopback port. */
export async function startProvider(options: ProviderOptions): Promise<TestProvider> {
  const faults = createFaultRules();
  const calls = zeroCalls();
  const requests: RecordedRequest[] = [];
  let reusedRefreshTokens = 0;

  const front = await startListener((request, response) => {
    serve(request, response).catch(abortWith(response));
  });
  const issuer = options.publicOrigin ?? `http://127.0.0.1:${front.port}`;
  const inner = await startInner(issuer, options);

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    const recorded = recordRequest(request, body);
    requests.push(recorded);
    for (const endpoint of recorded.endpoints) calls[endpoint] += 1;
    noteSecretsOfRequest(inner, recorded);

    const { verdict, afterWork } = await faults.beforeWork(recorded.endpoints);
    if (verdict.kind === 'hang') return;
    if (verdict.kind === 'reset') {
      request.socket.destroy();
      return;
    }
    if (verdict.kind === 'fail') {
      send(response, failureAnswer(verdict.failure, recorded));
      return;
    }
    const refreshToken = recorded.endpoints.includes('refresh') ? recorded.form['refresh_token'] : undefined;
    if (refreshToken !== undefined && inner.spentRefreshTokens.has(refreshToken)) reusedRefreshTokens += 1;
    if (refreshToken !== undefined && inner.settings.rotateRefreshTokens) inner.spentRefreshTokens.add(refreshToken);

    const asked = await withClientOf(options.workloads, recorded, { body, secret: inner.clientSecret });
    const real = await askInner(inner, request, asked);
    const formed = recorded.endpoints.includes('introspection') ? await formIntrospection(inner, request, real) : real;
    const answer = await changeAnswer(inner, recorded.endpoints, formed);
    // The same request is expected again (RFC 9449 8), or was refused before its token was looked at.
    const isUnused = asksForNonce(answer) || refusesClient(answer);
    if (refreshToken !== undefined && isUnused) inner.spentRefreshTokens.delete(refreshToken);
    if ((await afterWork()) === 'drop') request.socket.destroy();
    else send(response, answer);
  }

  return {
    ...faults,
    issuer,
    port: front.port,
    server: front.server,
    clientId: inner.clientId,
    clientSecret: inner.clientSecret,
    settings: inner.settings,
    calls,
    requests,
    secrets: inner.secrets,
    get reusedRefreshTokens() {
      return reusedRefreshTokens;
    },
    resetCalls() {
      Object.assign(calls, zeroCalls());
      requests.length = 0;
    },
    down: () => front.close(),
    up: () => front.reopen(),
    rotateKeys: (rotation = {}) => rotateKeys(inner, issuer, options, rotation.keepOld ?? false),
    mutate: (endpoint, apply) => addTo(inner.mutations, { endpoint, apply }),
    mutateDiscovery: (apply) => addTo(inner.mutations, { endpoint: 'discovery', apply }),
    mutateIdToken: (apply, grant = 'token') => addTo(inner.idTokenMutations, { grant, apply }),
    mutatePhantom: (mutation) => addTo(inner.phantomMutations, mutation),
    mutateCallback: (mutation) => addTo(inner.callbackMutations, mutation),
    refuseNext(error, description) {
      const undo = addTo(inner.callbackMutations, (parameters) => {
        undo();
        return refusal(parameters, error, description);
      });
    },
    revokeGrants: (user) =>
      inner.storage.remove(
        (model, payload) =>
          ['Grant', 'RefreshToken', 'AccessToken', 'AuthorizationCode'].includes(model) &&
          (user === undefined || payload.accountId === user),
      ),
    revokeAccessTokens: (user) =>
      inner.storage.remove(
        (model, payload) => model === 'AccessToken' && (user === undefined || payload.accountId === user),
      ),
    revokeClientTokens: () => inner.storage.remove((model) => model === 'ClientCredentials'),
    revokeSession: (user) =>
      inner.storage.remove(
        (model, payload) => model === 'Session' && (user === undefined || payload.accountId === user),
      ),
    sign: (claims, header = {}, signing = 'own') =>
      signAs(signing, claims, { kid: inner.keys.current.kid, alg: 'RS256', ...header }, inner.keys.current),
    async close() {
      faults.heal();
      await front.close();
      inner.agent.destroy();
      await inner.listener.close();
    },
  };
}

async function startInner(issuer: string, options: ProviderOptions): Promise<Inner> {
  const settings = completeSettings(options.settings);
  const clientSecret = options.clientSecret ?? randomBytes(24).toString('base64url');
  const state = {
    settings,
    storage: createProviderStorage(),
    clientId: options.clientId ?? 'sallyport',
    clientSecret,
    redirectUris: options.redirectUris,
    publicHost: options.publicOrigin === undefined ? undefined : new URL(options.publicOrigin).host,
    keys: { current: await signingKey(0), index: 0 },
    agent: new Agent({ keepAlive: true }),
    mutations: [],
    phantomMutations: [],
    idTokenMutations: [],
    callbackMutations: [],
    secrets: new Map<string, SecretKind>([[clientSecret, 'clientSecret']]),
    spentRefreshTokens: new Set<string>(),
  } satisfies Omit<Inner, 'provider' | 'listener'>;
  const provider = createProvider(issuer, options, state, [state.keys.current]);
  const listener = await startListener((request, response) => {
    answerRequest(inner, request, response).catch(abortWith(response));
  });
  const inner: Inner = { ...state, provider, listener };
  const { publicOrigin } = options;
  if (publicOrigin !== undefined) {
    // Servers keep to loopback, where the metadata is asked for.
    inner.mutations.push({
      endpoint: 'discovery',
      apply: (metadata) => ({
        ...metadata,
        authorization_endpoint: `${publicOrigin}/auth`,
        end_session_endpoint: `${publicOrigin}/session/end`,
      }),
    });
  }
  return inner;
}

async function rotateKeys(inner: Inner, issuer: string, options: ProviderOptions, keepOld: boolean): Promise<void> {
  const old = inner.keys.current;
  const index = inner.keys.index + 1;
  const current = await signingKey(index);
  inner.keys.current = current;
  inner.keys.index = index;
  inner.provider = createProvider(issuer, options, inner, keepOld ? [current, old] : [current]);
}

/** Asks the real provider, which listens on a port of its own behind the scripting layer. */
function askInner(inner: Inner, request: IncomingMessage, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const isBehindTls = request.headers.host === inner.publicHost;
    const forwarded = isBehindTls ? { 'x-forwarded-proto': 'https' } : {};
    const headers = { ...request.headers, connection: 'keep-alive', ...forwarded, ...lengthOf(body) };
    const outgoing = httpRequest(
      {
        host: '127.0.0.1',
        port: inner.listener.port,
        agent: inner.agent,
        method: request.method,
        path: request.url,
        headers,
      },
      (incoming) => {
        readBody(incoming).then(
          (answerBody) =>
            resolve({
              status: incoming.statusCode ?? 500,
              headers: headerPairs(incoming.rawHeaders),
              body: answerBody,
            }),
          reject,
        );
      },
    );
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

/** Introspection as vendors answer it, and with the changes that a test has asked for. */
async function formIntrospection(inner: Inner, request: IncomingMessage, answer: Answer): Promise<Answer> {
  if (answer.status !== 200) return answer;
  const text = answer.body.toString();
  if (!isJson(answer)) return { ...answer, body: Buffer.from(await changedJwt(inner, text)) };
  const form = inner.settings.introspectionForm;
  if (form === 'json' || request.headers.accept !== 'application/jwt') return answer;
  const json: Record<string, unknown> = JSON.parse(text);
  if (json['active'] !== true) return form === 'curity' ? { ...answer, status: 204, body: Buffer.alloc(0) } : answer;
  const { issuer } = inner.provider;
  const { phantomAudience: audience } = inner.settings;
  const jwt = await changedJwt(inner, await phantomJwt(json, { issuer, audience, key: inner.keys.current }));
  if (form === 'keycloak') return { ...answer, body: Buffer.from(JSON.stringify({ ...json, jwt })) };
  const others = answer.headers.filter(([name]) => name.toLowerCase() !== 'content-type');
  return { ...answer, headers: [...others, ['content-type', 'application/jwt']], body: Buffer.from(jwt) };
}

async function changedJwt(inner: Inner, jwt: string): Promise<string> {
  let changed = jwt;
  for (const mutate of inner.phantomMutations.slice()) changed = await changeJwt(changed, mutate, inner.keys.current);
  inner.secrets.set(changed, 'accessToken');
  return changed;
}

function lengthOf(body: Buffer): Record<string, string> {
  return body.length === 0 ? {} : { 'content-length': String(body.length) };
}

async function changeAnswer(inner: Inner, endpoints: readonly Endpoint[], answer: Answer): Promise<Answer> {
  const changed = changeRedirect(inner, answer);
  if (changed.status !== 200 || !isJson(changed)) return changed;
  let json: Record<string, unknown> = JSON.parse(changed.body.toString());
  noteSecretsOfAnswer(inner, json);
  for (const { grant, apply } of inner.idTokenMutations) {
    if (!endpoints.includes(grant) || typeof json['id_token'] !== 'string') continue;
    json['id_token'] = await mutateIdToken(json['id_token'], apply, inner.keys.current);
  }
  for (const { endpoint, apply } of inner.mutations) {
    if (endpoints.includes(endpoint)) json = apply(json);
  }
  noteSecretsOfAnswer(inner, json);
  return { ...changed, body: Buffer.from(JSON.stringify(json)) };
}

function changeRedirect(inner: Inner, answer: Answer): Answer {
  const location = answer.headers.find(([name]) => name.toLowerCase() === 'location')?.[1];
  if (location === undefined || !inner.redirectUris.some((uri) => location.startsWith(`${uri}?`))) return answer;
  const url = new URL(location);
  const code = url.searchParams.get('code');
  if (code !== null) inner.secrets.set(code, 'code');
  let parameters = url.searchParams;
  for (const mutation of inner.callbackMutations.slice()) parameters = mutation(new URLSearchParams(parameters));
  url.search = parameters.toString();
  const headers = answer.headers.map(([name, value]): [string, string] =>
    name.toLowerCase() === 'location' ? [name, url.href] : [name, value],
  );
  return { ...answer, headers };
}

function refusal(parameters: URLSearchParams, error: string, description: string | undefined): URLSearchParams {
  const changed = new URLSearchParams(parameters);
  changed.delete('code');
  changed.set('error', error);
  if (description !== undefined) changed.set('error_description', description);
  return changed;
}

function recordRequest(request: IncomingMessage, body: Buffer): RecordedRequest {
  const url = new URL(request.url ?? '/', 'http://provider');
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  const form = isForm ? Object.fromEntries(new URLSearchParams(body.toString())) : {};
  return {
    endpoints: endpointsOf(url.pathname, form['grant_type']),
    method: request.method ?? 'GET',
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    form,
    headers: request.headers,
    remotePort: request.socket.remotePort,
  };
}

function endpointsOf(path: string, grantType: string | undefined): Endpoint[] {
  const endpoint = endpointOfPath[path] ?? 'other';
  if (['authorization', 'endSession', 'other'].includes(endpoint)) return [endpoint];
  if (endpoint !== 'token') return [endpoint, 'backChannel'];
  const grant = endpointOfGrant[grantType ?? ''];
  return grant === undefined ? ['token', 'backChannel'] : ['token', grant, 'backChannel'];
}

function noteSecretsOfRequest(inner: Inner, recorded: RecordedRequest): void {
  const { form, query } = recorded;
  const shown: Array<[string | undefined, SecretKind]> = [
    [form['code_verifier'], 'codeVerifier'],
    [form['code'], 'code'],
    [form['client_secret'], 'clientSecret'],
    [form['client_assertion'], 'clientAssertion'],
    [form['refresh_token'], 'refreshToken'],
    [query['id_token_hint'] ?? form['id_token_hint'], 'idToken'],
  ];
  for (const [value, kind] of shown) if (value) inner.secrets.set(value, kind);
}

function noteSecretsOfAnswer(inner: Inner, json: Record<string, unknown>): void {
  const given: Array<[unknown, SecretKind]> = [
    [json['access_token'], 'accessToken'],
    [json['refresh_token'], 'refreshToken'],
    [json['id_token'], 'idToken'],
  ];
  for (const [value, kind] of given) if (typeof value === 'string') inner.secrets.set(value, kind);
}

function failureAnswer(failure: Failure, request: RecordedRequest): Answer {
  const given = failure.body ?? { error: 'server_error', error_description: 'scripted failure' };
  const body = typeof given === 'function' ? given(request) : given;
  const isText = typeof body === 'string';
  return {
    status: failure.status ?? 500,
    headers: [
      ['content-type', failure.contentType ?? (isText ? 'text/html; charset=utf-8' : 'application/json')],
      ...Object.entries(failure.headers ?? {}),
      ...(failure.challenge === undefined
        ? []
        : [['www-authenticate', failure.challenge(request)] as [string, string]]),
    ],
    body: Buffer.from(isText ? body : JSON.stringify(body)),
  };
}

function send(response: ServerResponse, answer: Answer): void {
  const framing = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive']);
  const headers = answer.headers.filter(([name]) => !framing.has(name.toLowerCase())).flat();
  response.writeHead(answer.status, [...headers, 'content-length', String(answer.body.length)]);
  response.end(answer.body);
}

function headerPairs(rawHeaders: string[]): Array<[string, string]> {
  const pairs: Array<[string, string]> = [];
  for (let at = 0; at < rawHeaders.length; at += 2) pairs.push([rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '']);
  return pairs;
}

function asksForNonce({ status, body }: Answer): boolean {
  return status === 400 && body.includes('"use_dpop_nonce"');
}

function refusesClient({ status, body }: Answer): boolean {
  return status === 401 && body.includes('"invalid_client"');
}

function isJson(answer: Answer): boolean {
  const type = answer.headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';
  return type.includes('json');
}

function addTo<Item>(list: Item[], item: Item): Undo {
  list.push(item);
  return () => {
    const at = list.indexOf(item);
    if (at >= 0) list.splice(at, 1);
  };
}

function zeroCalls(): Record<Endpoint, number> {
  return {
    discovery: 0,
    jwks: 0,
    authorization: 0,
    token: 0,
    code: 0,
    refresh: 0,
    exchange: 0,
    clientCredentials: 0,
    userinfo: 0,
    revocation: 0,
    introspection: 0,
    pushedAuthorization: 0,
    endSession: 0,
    other: 0,
    backChannel: 0,
  };
}
