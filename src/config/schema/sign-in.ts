/** The keys of signing in and out at the provider: the client, the login, the logout. */
import { z } from 'zod';
import { keyAlgorithms } from '../key-file.ts';
import { flag, logoutParameterName, parameterName, seconds, text } from '../kinds.ts';

/** The first three need the secret. */
const authMethods = [
  'client_secret_basic',
  'client_secret_post',
  'client_secret_jwt',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
  'federated_token',
] as const;

/** With the client secret, for `client_secret_jwt` (RFC 7518 3.2). */
export const hmacAlgorithms = ['HS256', 'HS384', 'HS512'] as const;

export const client = z.strictObject({
  id: text.meta({ description: 'The client id, as registered with the provider.' }),
  secret: text.optional().meta({
    description:
      'The client secret, where `authMethod` needs one. Whoever has it can redeem codes in the name of the app: keep it ' +
      'in a secret store.',
  }),
  authMethod: z
    .enum(authMethods, `must be ${authMethods.map((method) => `"${method}"`).join(', ')}`)
    .default('client_secret_basic')
    .meta({
      description:
        'How the client [authenticates](client-security.md) to the provider. The first two send the secret with every ' +
        'request; with the others nothing crosses the network that could be used again later.',
    }),
  keyFile: text.optional().meta({
    description:
      'The private key of the client: PEM (PKCS#8), a JWK or a JWK Set. The first key signs, the public parts of all are ' +
      'published at `/bff/jwks.json`. Read anew when it changes. Whoever has it can redeem codes in the name of the app.',
  }),
  certFile: text.optional().meta({
    description:
      'The client certificate for mutual TLS with the provider, PEM with its chain. Read anew when it changes.',
  }),
  tlsKeyFile: text.optional().meta({
    description: 'The private key of `certFile`. Default: `keyFile`. A key of its own keeps both uses apart.',
  }),
  signingAlgorithm: z
    .enum([...keyAlgorithms, ...hmacAlgorithms], `must be one of ${[...keyAlgorithms, ...hmacAlgorithms].join(', ')}`)
    .optional()
    .meta({
      description:
        'With which algorithm the client signs. Default: what its key can do and the provider takes, PS256 before RS256.',
    }),
  tokenFile: text.optional().meta({
    description:
      'The file with the token of this workload, for `federated_token`: a service account token of Kubernetes, for ' +
      'example. Read anew when it changes.',
  }),
  responseMode: z
    .enum(['query', 'form_post'], 'must be "query" or "form_post"')
    .default('query')
    .meta({
      description:
        'How the provider answers the login. `form_post` keeps the code out of URLs, and so out of access logs; the ' +
        'callback then takes one more page load.',
    }),
});

export const login = z
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
    lifetimeSeconds: seconds(1, 86_400)
      .default(600)
      .meta({
        description:
          'Seconds that a person may take to sign in at the provider. Whoever copies the cookie of a login that was begun ' +
          'can complete it for that long.',
      }),
  })
  .prefault({});

/** In a value of `logout.params`: the address to which the provider sends the browser after sign-out. */
export const returnToPlaceholder = '{returnTo}';

export const logout = z
  .strictObject({
    returnTo: text
      .regex(/^\/(?![/\\])[^\\\s]*$/, 'must be a path on the own origin, e.g. "/"')
      .default('/')
      .meta({
        description:
          'The page to which the provider sends the browser after sign-out, and where people land who give no `returnTo` ' +
          'of their own. Register origin + path with the provider as a post-logout redirect URI.',
      }),
    params: z
      .record(
        logoutParameterName(),
        z.string().refine((value) => !/[{}]/.test(value.replaceAll(returnToPlaceholder, '')), {
          message: `has one placeholder only: "${returnToPlaceholder}", the address of \`logout.returnTo\``,
        }),
      )
      .default({})
      .meta({
        description:
          'Parameters sent to the provider with every sign-out. `{returnTo}` in a value stands for the whole address of ' +
          '`logout.returnTo`: Amazon Cognito needs `logout_uri={returnTo}`.',
      }),
    idTokenHint: flag.default(true).meta({
      description:
        'Sends the ID token to the provider at sign-out, so that it asks nothing. Off for a provider that refuses an ' +
        'expired one. A token that makes the address too long is left out anyway.',
    }),
    backchannel: z
      .union([z.boolean(), z.literal('shared')], 'must be true, false or "shared"')
      .default(true)
      .meta({
        description:
          'Takes back-channel logout at `/bff/backchannel-logout`: what has ended at the provider ends here. Without a shared ' +
          'store it reaches one process; `shared` refuses to start then, for set-ups of several machines.',
      }),
    frontchannel: flag.default(false).meta({
      description:
        "Takes front-channel logout at `/bff/frontchannel-logout`, from a frame of the provider's. It is not signed: whoever " +
        'knows the `sid` of a session can end it.',
    }),
  })
  .prefault({});
