/** A client certificate with its key, for mutual TLS (RFC 8705): read as PEM, and checked to belong together. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { parseKeyFile, thumbprintOf, UnusableFile, type PublicJwk } from './key-file.ts';

/** What a TLS connection shows. Both are PEM. */
export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
}

/** @throws {UnusableFile} */
export function parseTlsIdentity(cert = '', keyContent = ''): TlsIdentity {
  const [leaf] = certificatesIn(cert);
  const key = pemOfKey(keyContent);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) {
    throw new UnusableFile('is for another key; renew both files together');
  }
  return { cert, key };
}

/** The first key of a file, which may also hold JWKs. */
function pemOfKey(content: string): string {
  const [{ privateKey }] = parseKeyFile(content);
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** @throws {UnusableFile} */
export function certificatesIn(content: string): readonly [X509Certificate, ...X509Certificate[]] {
  const blocks = content.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [];
  const [first, ...others] = blocks.map(certificateOf);
  if (first === undefined) throw new UnusableFile('holds no certificate in PEM form');
  return [first, ...others];
}

function certificateOf(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new UnusableFile('holds a certificate that cannot be read');
  }
}

/** The certificates of a file as the keys of a JWK Set, each with itself in it (RFC 8705 2.2.2). */
export function jwksOfCertificates(content: string): PublicJwk[] {
  return certificatesIn(content).map(jwkOfCertificate);
}

function jwkOfCertificate({ publicKey, raw }: X509Certificate): PublicJwk {
  const jwk = publicKey.export({ format: 'jwk' });
  return { ...jwk, kid: thumbprintOf(jwk), use: 'sig', x5c: [raw.toString('base64')] };
}
