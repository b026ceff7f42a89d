/**
 * A platform that gives workloads a signed token (RFC 7523 2.2), and a provider that trusts it: as Entra ID does for the
 * service accounts of Kubernetes. The test provider knows no such clients, so their tokens are checked before it.
 */
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { randomUUID } from 'node:crypto';

export interface WorkloadPlatform {
  /** A token for the client's workload; with other claims, one that is refused. */
  readonly issue: (claims?: Readonly<Record<string, unknown>>) => Promise<string>;
  /** Whether a request for the token endpoint is authenticated by a good token. */
  readonly accepts: (form: Readonly<Record<string, string>>) => Promise<boolean>;
}

const issuer = 'https://platform.test';
const audience = 'api://provider';
const subject = 'system:serviceaccount:shop:sallyport';
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export async function startWorkloadPlatform(): Promise<WorkloadPlatform> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  return {
    issue: (claims = {}) =>
      new SignJWT({ iss: issuer, aud: audience, sub: subject, jti: randomUUID(), ...claims })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(privateKey),
    async accepts({ client_assertion: token = '', client_assertion_type: type, client_id: id }) {
      if (type !== assertionType || id !== 'sallyport') return false;
      return jwtVerify(token, jwk, { issuer, audience, subject }).then(
        () => true,
        () => false,
      );
    },
  };
}

/** The body of a request as the provider takes it: with the client's secret where a good token stands, else a wrong one. */
export async function withClientOf(
  platform: WorkloadPlatform | undefined,
  { form }: { readonly form: Readonly<Record<string, string>> },
  request: { readonly body: Buffer; readonly secret: string },
): Promise<Buffer> {
  if (platform === undefined || form['client_assertion'] === undefined) return request.body;
  const { client_assertion: _token, client_assertion_type: _type, ...rest } = form;
  const secret = (await platform.accepts(form)) ? request.secret : 'that of nobody';
  return Buffer.from(new URLSearchParams({ ...rest, client_secret: secret }).toString());
}
