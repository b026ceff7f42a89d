/** How the client authenticates to the provider: the method, and what it needs. */
import { z } from 'zod';
import { keyAlgorithms } from '../key-file.ts';
import { text } from '../kinds.ts';

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

/** Members of `client`. What a method needs is in `client-rules.ts`. */
export const clientAuthentication = {
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
};
