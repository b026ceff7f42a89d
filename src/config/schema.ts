/**
 * The schema: every key that can be set, with its type, its messages and its description. The types, the validation, the
 * JSON Schema and the option table of docs/configuration.md all follow from it. A description says what the key means,
 * in which unit, what its default does, and what it costs in security to change it. Rules that span keys are in
 * `rules.ts`.
 */
import { z } from 'zod';
import {
  bytes,
  flag,
  httpUrl,
  network,
  originText,
  parameterName,
  port,
  sealingSecret,
  seconds,
  text,
} from './kinds.ts';

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

/** Browsers keep no cookie for longer (RFC 6265bis 5.5). */
const maximumLifetimeSeconds = 400 * 24 * 3600;

export const defaultBasePath = '/bff';

const listen = z
  .strictObject({
    host: text.optional().meta({
      description:
        'Listening address. Default: `127.0.0.1` on a loopback origin, else `0.0.0.0`. Clients that reach it directly ' +
        'bypass the proxy that terminates TLS.',
    }),
    port: port.optional().meta({
      description: "Listening port. Default: the origin's on a loopback origin, else 3000.",
    }),
    opsPort: port.optional().meta({
      description:
        'Port of a second listener, for `/livez` and `/readyz`. Default: none. It has no authentication and shows ' +
        'nothing but the status.',
    }),
  })
  .prefault({});

const client = z.strictObject({
  id: text.meta({ description: 'The client id, as registered with the provider.' }),
  secret: text.meta({
    description:
      'The client secret. Whoever has it can redeem codes in the name of the app: keep it in a secret store.',
  }),
  authMethod: z
    .enum(['client_secret_basic', 'client_secret_post'], 'must be "client_secret_basic" or "client_secret_post"')
    .default('client_secret_basic')
    .meta({ description: 'How the client authenticates at the token endpoint. The secret is sent either way.' }),
  responseMode: z
    .enum(['query', 'form_post'], 'must be "query" or "form_post"')
    .default('query')
    .meta({
      description:
        'How the provider answers the login. `form_post` keeps the code out of URLs, and so out of access logs; the ' +
        'callback then takes one more page load.',
    }),
});

const route = z.strictObject({
  path: text
    .regex(/^(?:\/[A-Za-z0-9._~-]+)+$/, 'must be a path such as "/api": letters, digits, "-._~", no "/" at its end')
    .refine(
      (path) => !path.split('/').some((segment) => segment === '.' || segment === '..'),
      'must not hold "." or ".." segments',
    )
    .meta({ description: 'The prefix, on whole path segments; the longest prefix that matches wins.' }),
  target: httpUrl('the address of the API, e.g. "http://127.0.0.1:9100/v1"').meta({
    description:
      "The API's address; its path replaces the prefix. The access token goes there: over `http:`, everyone on that " +
      'network can read it.',
  }),
  methods: z
    .array(
      z
        .string()
        .regex(/^[A-Z][A-Z0-9-]*$/, 'must be a method in capital letters')
        // The answer to a TRACE holds the request with its access token; a CONNECT would make this server a tunnel.
        .refine((method) => method !== 'TRACE' && method !== 'CONNECT', 'must not be TRACE or CONNECT'),
    )
    .min(1, 'must name a method')
    .optional()
    .meta({
      description: 'Methods that may pass; others get 405. Default: GET, HEAD, POST, PUT, PATCH, DELETE, QUERY.',
    }),
  timeoutSeconds: seconds(0.1, 3600).optional().meta({
    description: "Seconds to the API's first byte; beyond it 504. Default: `upstream.timeoutSeconds`.",
  }),
  connectTimeoutSeconds: seconds(0.1, 600).default(10).meta({
    description: 'Seconds to a connection with the API, the TLS handshake included.',
  }),
  idleTimeoutSeconds: seconds(0, 86_400)
    .default(0)
    .meta({
      description:
        "Seconds between two chunks of the API's answer. 0: no limit, as event streams need; an API that stalls then holds " +
        'its connection.',
    }),
  maxConcurrent: z
    .int('must be a whole number of calls')
    .min(0, 'must not be negative')
    .default(0)
    .meta({
      description:
        'Calls that this process makes at a time; beyond it 429. 0: no limit; one user can then use up all that the ' +
        'API can do.',
    }),
  maxBodyBytes: bytes.optional().meta({
    description: 'Largest request body in bytes; beyond it 413. 0: no limit. Default: `upstream.maxBodyBytes`.',
  }),
  replayBytes: bytes.optional().meta({
    description:
      'Bytes of a request body kept in memory to repeat the call after a 401. A larger body is streamed, and its call ' +
      'is not repeated. Default: `upstream.replayBytes`.',
  }),
  navigations: flag.default(false).meta({
    description:
      'Lets a GET pass that no page caused (`Sec-Fetch-Site: none`), for documents opened from a bookmark. Other ' +
      'sites can cause one by a redirect, with the session: only for an API whose GETs change nothing.',
  }),
  websocket: flag.default(true).meta({ description: 'Lets WebSocket upgrades pass, with the access token.' }),
  websocketTokenProtocol: text
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be the beginning of a sub-protocol, e.g. "bearer."')
    .optional()
    .meta({
      description:
        'For an API that reads the token from the WebSocket sub-protocols: the text before the token there, e.g. ' +
        '`bearer.`. After a `base64url.…` the token is encoded, as Kubernetes wants. Some servers log sub-protocols, ' +
        'and with them the token.',
    }),
  allowEncodedSlashes: flag.default(false).meta({
    description:
      'Lets %2F and %5C in paths pass, for an API that needs them. An API that decodes them reads another path than ' +
      'the one that chose the route.',
  }),
  caFile: text.optional().meta({
    description:
      "A PEM file with the certificate authorities of an `https:` target, in place of the system's. Each of them can " +
      'issue a certificate that is accepted for this API.',
  }),
  socketPath: text.optional().meta({
    description:
      "A Unix socket on which the API listens; the target's host is then only the `Host` header. Whoever may bind the " +
      'socket receives the tokens.',
  }),
});

const spa = z
  .strictObject({
    folder: text.optional().meta({
      description: 'A folder of built files with an `index.html`. Everyone can read what is in it, except dot files.',
    }),
    devServer: httpUrl('the address of a dev server, e.g. "http://localhost:5173"')
      .optional()
      .meta({
        description:
          'The address of a dev server to proxy, hot module replacement included, in place of the folder. For ' +
          'development: its pages have no Content-Security-Policy.',
      }),
    requireLogin: flag.default(false).meta({
      description:
        'Sends people who are not signed in to the login before the SPA loads. A convenience: the files are no secret.',
    }),
    sourceMaps: flag.default(false).meta({
      description: 'Serves `*.map` files. Everyone can then read the source code of the SPA.',
    }),
    symlinks: flag.default(false).meta({
      description:
        'Follows symbolic links whose target is in the folder, as a mounted Kubernetes ConfigMap needs. Links that ' +
        'lead out are never followed.',
    }),
    headers: z
      .record(z.string(), z.union([z.string(), z.literal(false)]))
      .default({})
      .meta({
        description:
          'Security headers to replace (a text) or to leave out (`false`). A weaker `content-security-policy` lets an ' +
          'injected script run.',
      }),
  })
  .optional();

const session = z
  .strictObject({
    mode: z.enum(['cookie', 'store'], 'must be "cookie" or "store"').default('cookie').meta({
      description:
        '`cookie`: the tokens travel in the sealed cookie. `store`, where they stay in the store, is not available yet.',
    }),
    lifetimeSeconds: seconds(1, maximumLifetimeSeconds).default(28_800).meta({
      description: 'Seconds from the login to the end of the session. A stolen cookie works until then at the latest.',
    }),
    idleSeconds: seconds(0, maximumLifetimeSeconds)
      .default(0)
      .meta({
        description:
          'Seconds without an API call to the end of the session. 0: no such limit; an abandoned browser then stays ' +
          'signed in for the whole lifetime.',
      }),
  })
  .prefault({});

const refresh = z
  .strictObject({
    beforeSeconds: seconds(0, 3600).default(30).meta({
      description: 'Seconds before its expiry at which a token is refreshed; never more than half its lifetime.',
    }),
    graceSeconds: seconds(0, 600)
      .default(60)
      .meta({
        description:
          'Seconds for which calls with the cookie from before a refresh get its result, counted from the first call ' +
          'with the new cookie. A copied old cookie works that long as well.',
      }),
  })
  .prefault({});

const login = z
  .strictObject({
    allowParams: z
      .array(parameterName())
      .default([])
      .meta({
        description:
          'Further authorization parameters that the SPA may pass to the login, e.g. `kc_idp_hint`. Every site can set ' +
          'them by a link.',
      }),
    params: z.record(parameterName(), z.string()).default({}).meta({
      description:
        'Authorization parameters sent with every login, e.g. `audience`. The SPA can replace those that it may pass.',
    }),
    userInfo: flag.default(false).meta({
      description:
        "Adds the UserInfo endpoint's claims to the ID token's. They count against the size of the cookie, and each " +
        'login waits for one more call.',
    }),
  })
  .prefault({});

const logout = z
  .strictObject({
    returnTo: text
      .regex(/^\/(?![/\\])[^\\\s]*$/, 'must be a path on the own origin, e.g. "/"')
      .default('/')
      .meta({
        description:
          'The page to which the provider sends the browser after sign-out. Register origin + path with the provider as ' +
          'a post-logout redirect URI.',
      }),
  })
  .prefault({});

const csrf = z
  .strictObject({
    requireHeader: flag.default(false).meta({
      description:
        'Requires the header `X-CSRF: 1` on every call besides the origin check: a second defence, which plain links ' +
        'and forms cannot pass.',
    }),
  })
  .prefault({});

const upstream = z
  .strictObject({
    timeoutSeconds: seconds(0.1, 3600).default(60).meta({
      description: "Seconds to the API's first byte, for routes that set none.",
    }),
    maxBodyBytes: bytes.default(0).meta({
      description:
        'Largest request body in bytes, for routes that set none. 0: no limit; the API then has to refuse large uploads.',
    }),
    replayBytes: bytes.default(65_536).meta({
      description:
        'Bytes of a request body kept in memory to repeat the call after a 401, for routes that set none. Each running ' +
        'call can hold that much.',
    }),
  })
  .prefault({});

/** Everything that a configuration can hold. */
export const schema = z.strictObject({
  origin: originText().meta({
    description:
      'The public origin of the app. Redirects, cookies and the origin check are built on it, never on a header. ' +
      '`http:` only on loopback.',
  }),
  listen,
  issuer: httpUrl('the issuer of your identity provider, e.g. "https://login.example.com"').meta({
    description:
      'The issuer, exactly as the provider writes it. `http:` only on loopback, because everyone on the way could ' +
      'sign people in as anyone.',
  }),
  discoveryUrl: httpUrl('the address of the provider’s metadata document')
    .optional()
    .meta({
      description:
        "Where to fetch the provider's metadata when the server cannot reach the issuer's own address. It names the keys " +
        'that ID tokens are checked with: over `http:`, only on a network of your own.',
    }),
  client,
  scope: text
    .refine((scope) => scope.split(' ').includes('openid'), 'must contain "openid"')
    .default('openid profile email offline_access')
    .meta({
      description:
        'Scopes requested at login, separated by spaces. Without a refresh token (`offline_access` at many providers) a ' +
        'session ends with its access token.',
    }),
  secrets: z
    .array(sealingSecret())
    .min(1, 'must hold a sealing secret; make one with `sallyport keygen`')
    .meta({
      description:
        'Sealing secrets of at least 32 characters. The first seals, all unseal, so that secrets can be rotated. Whoever ' +
        'has one can read and forge session cookies.',
    }),
  api: z.array(route).default([]).meta({ description: 'API routes: prefix and target.' }),
  spa,
  session,
  refresh,
  login,
  logout,
  csrf,
  upstream,
  redisUrl: text
    .refine(
      (url) => /^(?:rediss?|unix):\/\//.test(url) && URL.canParse(url),
      'must be a URL such as "redis://127.0.0.1:6379"; percent-encode what is special in its password',
    )
    .optional()
    .meta({
      description:
        'Redis or Valkey, where instances share refreshes and sign-outs. Without it they are in the memory of one ' +
        'process: after a restart, a copied cookie of a session that was signed out works again.',
    }),
  trustedProxies: z
    .array(network())
    .default([])
    .meta({
      description:
        'Addresses or networks of the proxies whose forwarded headers count. A client inside one can give any address ' +
        'as its own.',
    }),
  basePath: text
    .regex(/^(?:\/[A-Za-z0-9_-]+)+$/, 'must be a path such as "/bff", without "/" at its end')
    .default(defaultBasePath)
    .meta({
      description: "Base path of Sallyport's own endpoints. It is part of the redirect URI that the provider knows.",
    }),
  drainSeconds: seconds(0, 3600).default(25).meta({
    description: 'Seconds that calls in flight get to finish after SIGTERM; then their connections are closed.',
  }),
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
