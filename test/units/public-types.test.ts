/**
 * What the package exports, frozen: names, kinds and members. A change here is a change for every program that uses
 * Sallyport, so it is made on purpose: change this list, docs/library.md and the version together. The members are
 * compared by the compiler (`npm run typecheck`).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, expectTypeOf, test } from 'vitest';
import * as sallyport from '../../src/index.ts';
import type {
  Bff,
  BffEvent,
  BffOptions,
  Claims,
  CloseLimits,
  ConfigFault,
  ConfigFile,
  ConfigInput,
  ErrorCode,
  Events,
  RunningServer,
  ServerOptions,
  SessionEnd,
  SessionsView,
  SessionView,
  SignedOutReason,
  Store,
  TokenFunction,
  TokenRequest,
  TokenSession,
} from '../../src/index.ts';
import { readPage, root } from '../support/markdown.ts';

const values = {
  BffError: 'class',
  ConfigError: 'class',
  createBff: 'function',
  createMemoryStore: 'function',
  dangerouslyAllowHttpIssuer: 'symbol',
  defineConfig: 'function',
  errorCodes: 'list',
  startServer: 'function',
};

const types = [
  'Bff',
  'BffEvent',
  'BffOptions',
  'Claims',
  'CloseLimits',
  'ConfigFault',
  'ConfigFile',
  'ConfigInput',
  'ErrorCode',
  'Events',
  'RunningServer',
  'ServerOptions',
  'SessionEnd',
  'SessionView',
  'SessionsView',
  'SignedOutReason',
  'Store',
  'TokenFunction',
  'TokenRequest',
  'TokenSession',
];

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'list';
  return typeof value === 'function' && /^class\b/.test(String(value)) ? 'class' : typeof value;
}

test('the exported values, and what they are', () => {
  const exported = Object.entries(sallyport).map(([name, value]) => [name, kindOf(value)]);
  expect(Object.fromEntries(exported)).toEqual(values);
});

test('the exported types', () => {
  const exports = readFileSync(join(root, 'src/index.ts'), 'utf8').matchAll(/^export (type )?\{([^}]*)\} from/gm);
  const names = [...exports].flatMap(([, allTypes, list = '']) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '' && (allTypes !== undefined || name.startsWith('type ')))
      .map((name) => name.replace(/^type /, '')),
  );
  expect(names.toSorted()).toEqual(types);
});

test('each export has a compiled example in docs/library.md', () => {
  const examples = [...readPage('docs/library.md').matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code = '']) => code);
  const imported = new Set(
    [...examples.join('\n').matchAll(/^import (?:type )?\{([^}]*)\} from 'sallyport'/gm)].flatMap(([, list = '']) =>
      list.split(',').map((name) => name.trim().replace(/^type /, '')),
    ),
  );
  expect([...Object.keys(values), ...types].filter((name) => !imported.has(name))).toEqual([]);
});

test('the members of the exported types', () => {
  expectTypeOf<keyof Bff>().toEqualTypeOf<
    'app' | 'attach' | 'close' | 'drain' | 'events' | 'isApiCall' | 'listener' | 'ready' | 'requestIdOf' | 'upgrade'
  >();
  expectTypeOf<keyof BffOptions>().toEqualTypeOf<'sessionView' | 'store'>();
  expectTypeOf<keyof ServerOptions>().toEqualTypeOf<'sessionView' | 'store' | 'logTo'>();
  expectTypeOf<keyof RunningServer>().toEqualTypeOf<'bff' | 'close' | 'host' | 'log' | 'opsPort' | 'origin' | 'port'>();
  expectTypeOf<CloseLimits>().toEqualTypeOf<{ readonly waitSeconds?: number; readonly drainSeconds?: number }>();
  expectTypeOf<Claims>().toExtend<Readonly<Record<string, unknown>>>();
  expectTypeOf<ConfigFault>().toEqualTypeOf<{ readonly path: string; readonly reason: string }>();
  expectTypeOf<Exclude<keyof ConfigInput, symbol>>().toEqualTypeOf<
    | 'api'
    | 'basePath'
    | 'client'
    | 'csrf'
    | 'discoveryUrl'
    | 'drain'
    | 'drainSeconds'
    | 'errorDocs'
    | 'issuer'
    | 'listen'
    | 'login'
    | 'logLevel'
    | 'logout'
    | 'origin'
    | 'pages'
    | 'profile'
    | 'path'
    | 'provider'
    | 'redisUrl'
    | 'refresh'
    | 'scope'
    | 'secrets'
    | 'session'
    | 'spa'
    | 'store'
    | 'trustedProxies'
    | 'upstream'
    | 'workers'
  >();
  expectTypeOf<keyof ConfigFile>().toEqualTypeOf<keyof ConfigInput>();
  expectTypeOf<Pick<ConfigInput, 'origin' | 'issuer' | 'client' | 'secrets'>>().toExtend<ConfigInput>();
  expectTypeOf<{}>().toExtend<ConfigFile>();
  expectTypeOf<keyof Events>().toEqualTypeOf<'emit' | 'subscribe'>();
  expectTypeOf<Parameters<TokenFunction>>().toEqualTypeOf<[session: TokenSession, request: TokenRequest]>();
  expectTypeOf<ReturnType<TokenFunction>>().toEqualTypeOf<string | undefined | Promise<string | undefined>>();
  expectTypeOf<keyof TokenSession>().toEqualTypeOf<'accessToken' | 'accessTokenExpiresAt' | 'claims' | 'id'>();
  expectTypeOf<keyof TokenRequest>().toEqualTypeOf<
    'headers' | 'method' | 'rejectedToken' | 'route' | 'signal' | 'url'
  >();
  expectTypeOf<keyof Store>().toEqualTypeOf<
    | 'advance'
    | 'begin'
    | 'claim'
    | 'close'
    | 'confirm'
    | 'durable'
    | 'end'
    | 'heardSince'
    | 'list'
    | 'look'
    | 'reachable'
    | 'release'
    | 'revoke'
    | 'shared'
    | 'subscribe'
    | 'touch'
    | 'useOnce'
  >();
});

test('the members of the exported unions', () => {
  expectTypeOf<SessionEnd>().toEqualTypeOf<
    | 'backchannel'
    | 'frontchannel'
    | 'logout'
    | 'new_login'
    | 'operator'
    | 'other_session'
    | 'refresh_id_token_invalid'
    | 'refresh_interrupted'
    | 'refresh_rejected'
    | 'store_lost'
  >();
  expectTypeOf<BffEvent['type']>().toEqualTypeOf<
    | 'access.denied'
    | 'config.refused'
    | 'config.replaced'
    | 'listener.failed'
    | 'login.failed'
    | 'login.started'
    | 'login.refresh_token_missing'
    | 'login.restarted'
    | 'login.succeeded'
    | 'logout.revocation_failed'
    | 'logout.token_refused'
    | 'policy.failed'
    | 'process.failed'
    | 'provider.discovered'
    | 'provider.discovery_failed'
    | 'provider.keys_failed'
    | 'provider.push_refused'
    | 'provider.unsuitable'
    | 'session.ended'
    | 'session.large'
    | 'session.oversized'
    | 'store.emptied'
    | 'store.failed'
    | 'store.writes_lost'
    | 'token.obtained'
    | 'token.inactive'
    | 'token.obtain_failed'
    | 'token.refresh_failed'
    | 'token.refreshed'
    | 'credentials.renewed'
    | 'credentials.unusable'
    | 'userinfo.failed'
    | 'worker.failed'
    | 'worker.started'
    | 'worker.stopped'
  >();
  expectTypeOf<Extract<SessionView, { authenticated: true }>>().toEqualTypeOf<{
    readonly authenticated: true;
    readonly user: Claims;
    readonly session: {
      readonly createdAt: string;
      readonly expiresAt: string;
      readonly expiresInSeconds: number;
      readonly idleExpiresAt: string | null;
      readonly idleExpiresInSeconds: number | null;
    };
    readonly accessToken: {
      readonly expiresAt: string | null;
      readonly expiresInSeconds: number | null;
      readonly refreshable: boolean;
    };
    readonly logoutUrl: string;
  }>();
  expectTypeOf<Extract<SessionView, { authenticated: false }>>().toEqualTypeOf<{
    readonly authenticated: false;
    readonly loginUrl: string;
    readonly reason?: SignedOutReason;
  }>();
  expectTypeOf<SignedOutReason>().toEqualTypeOf<
    'backchannel' | 'expired' | 'idle' | 'logout' | 'operator' | 'refused' | 'replaced' | 'signal'
  >();
  expectTypeOf<SessionsView['sessions'][number]>().toEqualTypeOf<{
    readonly handle: string;
    readonly current: boolean;
    readonly createdAt: string;
    readonly lastSeenAt: string;
    readonly userAgent: string | null;
    readonly address: string | null;
  }>();
  expectTypeOf<ErrorCode>().toEqualTypeOf<
    | 'access_denied'
    | 'authorization_failed'
    | 'body_too_large'
    | 'internal_error'
    | 'login_required'
    | 'login_transaction_invalid'
    | 'logout_sid_invalid'
    | 'method_not_allowed'
    | 'navigation_required'
    | 'provider_unavailable'
    | 'repeat_required'
    | 'request_forbidden'
    | 'request_invalid'
    | 'return_to_invalid'
    | 'route_not_found'
    | 'session_expired'
    | 'step_up_required'
    | 'store_unavailable'
    | 'too_many_requests'
    | 'upstream_timeout'
    | 'upstream_unavailable'
  >();
});
