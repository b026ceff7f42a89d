/**
 * The schema: every key that can be set, with its type, its messages and its description. The types, the validation, the
 * JSON Schema and the option table of docs/configuration.md all follow from it. A description says what the key means,
 * in which unit, what its default does, and what it costs in security to change it. Rules that span keys are in
 * `rules.ts`.
 */
import { z } from 'zod';
import {
  hasNoDotSegment,
  httpUrl,
  isPageAddress,
  network,
  originText,
  redisUrl,
  sealingSecret,
  text,
} from './kinds.ts';
import { drain, drainSeconds, listen } from './schema/listener.ts';
import { pages } from './schema/pages.ts';
import { profile } from './schema/profile.ts';
import { provider } from './schema/provider.ts';
import { route, upstream } from './schema/route.ts';
import { csrf, refresh, session } from './schema/session.ts';
import { client, login, logout } from './schema/sign-in.ts';
import { spa } from './schema/spa.ts';
import { store } from './schema/store.ts';

/**
 * Allows an `http:` issuer that is not on loopback. Everyone on the way to it can then sign people in as anyone. A symbol,
 * so that no JSON file and no environment variable can set it.
 *
 * @example
 * ```ts
 * import { dangerouslyAllowHttpIssuer, defineConfig } from 'sallyport';
 *
 * export default defineConfig({ issuer: 'http://login.test', [dangerouslyAllowHttpIssuer]: true });
 * ```
 */
export const dangerouslyAllowHttpIssuer: unique symbol = Symbol('dangerouslyAllowHttpIssuer');

export const defaultBasePath = '/bff';

/** Everything that a configuration can hold. */
export const schema = z.strictObject({
  origin: originText().meta({
    description:
      'The public origin of the app. Redirects, cookies and the origin check are built on it, never on a header. ' +
      '`http:` only on loopback.',
  }),
  listen,
  workers: z
    .union([z.literal('auto'), z.int().min(1).max(512)], 'must be a whole number from 1 to 512, or "auto"')
    .default(1)
    .meta({
      description:
        'Worker processes, each of which uses one core. `auto`: one for each core that this process may use, within the ' +
        'CPU limit of its container. 1: this process alone, without a first process that restarts it and takes a new ' +
        'configuration over at SIGHUP.',
    }),
  issuer: httpUrl('the issuer of your identity provider, e.g. "https://login.example.com"').meta({
    description:
      'The issuer, exactly as the provider writes it. `http:` only on loopback, because everyone on the way could ' +
      'sign people in as anyone.',
  }),
  discoveryUrl: httpUrl('the address of the provider’s metadata document', 'with a query')
    .optional()
    .meta({
      description:
        "Where to fetch the provider's metadata when the server cannot reach the issuer's own address. It names the keys " +
        'that ID tokens are checked with: over `http:`, only on a network of your own.',
    }),
  provider,
  profile,
  client,
  scope: text
    .refine((scope) => scope.split(' ').includes('openid'), 'must contain "openid"')
    .optional()
    .meta({
      description:
        'Scopes requested at login, separated by spaces. Default: those of `openid profile email offline_access` that the ' +
        'provider supports, without `offline_access` at Keycloak, which gives refresh tokens anyway. Without a refresh ' +
        'token a session ends with its access token.',
    }),
  secrets: z
    .array(sealingSecret())
    .min(1, 'must hold a sealing secret; make one with `sallyport keygen`')
    .meta({
      description:
        'Sealing secrets of at least 32 characters. The first seals, all unseal. A new one goes last at first, so that ' +
        'every instance accepts it before one seals with it. Whoever has one can read and forge session cookies.',
    }),
  api: z.array(route).default([]).meta({ description: 'API routes: prefix and target.' }),
  spa,
  session,
  refresh,
  login,
  logout,
  csrf,
  upstream,
  redisUrl: redisUrl()
    .optional()
    .meta({
      description:
        'Redis (7 and later) or Valkey, where instances share refreshes and sign-outs: `redis://`, `rediss://` over TLS, ' +
        '`unix://`, `redis+sentinel://HOST:26379,…/NAME` or `redis+cluster://HOST:6379,…` ([forms](store.md#addresses)). ' +
        'Without it and without `store.file` they are in the memory of one process: after a restart, a copied cookie of a ' +
        'session that was signed out works again.',
    }),
  store,
  trustedProxies: z
    .array(network())
    .default([])
    .meta({
      description:
        'Addresses or networks of the proxies whose forwarded headers count. A client inside one can give any address ' +
        'as its own.',
    }),
  path: text
    .regex(/^\/$|^(?:\/[A-Za-z0-9._~-]+)+$/, 'must be a path such as "/shop", without "/" at its end')
    .refine(hasNoDotSegment, 'must not hold "." or ".." segments')
    .default('/')
    .meta({
      description:
        'The path below which everything lives, e.g. `/shop` for an app at `https://www.example.com/shop/`: the SPA, the ' +
        'prefixes of the routes, `basePath` and `logout.returnTo`. Cookies are sent to the whole origin all the same, so ' +
        'that every app on it can use the session.',
    }),
  basePath: text
    .regex(/^(?:\/[A-Za-z0-9_-]+)+$/, 'must be a path such as "/bff", without "/" at its end')
    .default(defaultBasePath)
    .meta({
      description: "Base path of Sallyport's own endpoints. It is part of the redirect URI that the provider knows.",
    }),
  errorDocs: text
    .refine(isPageAddress, 'must be the address or the path of a page, e.g. "https://docs.example.com/errors"')
    .optional()
    .meta({
      description:
        'The page that explains the codes of errors: an address, or a path on the origin. The `type` of a problem is this, ' +
        '`#` and the code. Default: `errors` below `basePath`, a page of Sallyport.',
    }),
  pages,
  drainSeconds,
  drain,
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'], 'must be debug, info, warn, error or silent')
    .default('info')
    .meta({
      description:
        'The least level that is logged: JSON lines on standard output, readable lines on a terminal. From `warn` on ' +
        'sign-ins and requests are not logged.',
    }),
});

/**
 * A whole configuration, as a program gives it.
 *
 * @example
 * ```ts
 * import { createBff, type ConfigInput } from 'sallyport';
 *
 * const config: ConfigInput = {
 *   origin: 'https://app.example.com',
 *   issuer: 'https://login.example.com',
 *   client: { id: 'my-app', secret: process.env['CLIENT_SECRET'] ?? '' },
 *   secrets: [process.env['SEALING_SECRET'] ?? ''],
 * };
 * export const bff = createBff(config);
 * ```
 */
export type ConfigInput = z.input<typeof schema> & { readonly [dangerouslyAllowHttpIssuer]?: boolean };

/** What a configuration file holds: absent keys may come from environment variables, secrets above all. */
export type ConfigFile = Partial<Omit<ConfigInput, 'client'>> & { readonly client?: Partial<ConfigInput['client']> };

/** Each key valid in itself, with the schema's defaults; what `rules.ts` checks and `config.ts` completes. */
export type ParsedConfig = z.output<typeof schema>;
