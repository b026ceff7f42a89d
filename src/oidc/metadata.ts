/**
 * The provider's metadata document (OpenID Connect Discovery 4): fetched, checked and reduced to what is used. Each fault
 * is told with the address, the status and, where they differ, both issuers.
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import type { ProviderAddresses } from './addresses.ts';
import { legible } from './legible.ts';
import { MissingMetadata, UnusableMetadata } from './metadata-faults.ts';

interface MetadataDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly timeoutSeconds: number;
}

/** @throws {MissingMetadata | UnusableMetadata} */
export async function requestMetadata(config: Config, deps: MetadataDeps): Promise<ServerMetadata> {
  const url = metadataAddress(config);
  const response = await respond(url, deps);
  // Not its query: nobody knows what a provider wants there.
  const address = `${url.origin}${url.pathname}`;
  if (response.status !== 200) throw refusal(address, response, config);
  const document = await documentIn(response, address);
  const { issuer } = document;
  if (issuer !== config.issuer) throw otherIssuer(address, issuer, config);
  const missing = required.filter((name) => document[name] === undefined);
  if (missing.length > 0) throw new UnusableMetadata(`The metadata at ${address} names no ${missing.join(', no ')}.`);
  const metadata = { ...document, ...(config.client.certFile === undefined ? {} : aliasesIn(document)), issuer };
  deps.addresses.requireSecure(metadata);
  return reduced(metadata);
}

const required = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const;

/** The endpoints that Sallyport calls itself. No browser is sent to an address for mutual TLS. */
const aliased: ReadonlySet<string> = new Set([
  'token_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'userinfo_endpoint',
  'pushed_authorization_request_endpoint',
]);

/** Other addresses of endpoints, at which the provider asks for the client's certificate (RFC 8705 5). */
function aliasesIn({ mtls_endpoint_aliases: aliases }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (!(aliases instanceof Object)) return {};
  return Object.fromEntries(Object.entries(aliases).filter(([name]) => aliased.has(name)));
}

/** An address without a well-known part gets it, before its query. */
function metadataAddress({ issuer, discoveryUrl }: Config): URL {
  const address = new URL(discoveryUrl ?? issuer);
  if (!address.pathname.includes('/.well-known/')) {
    address.pathname = `${address.pathname.replace(/\/$/, '')}/.well-known/openid-configuration`;
  }
  return address;
}

async function respond({ href }: URL, { fetch, timeoutSeconds }: MetadataDeps): Promise<Response> {
  const signal = AbortSignal.timeout(Math.ceil(timeoutSeconds * 1000));
  try {
    return await fetch(href, { headers: { accept: 'application/json' }, signal });
  } catch (cause) {
    throw new MissingMetadata(`The provider's metadata cannot be fetched: ${messageOf(cause)}.`, { cause });
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function refusal(address: string, response: Response, config: Config): Error {
  const { status, headers } = response;
  const answer = `${address} answers ${status}`;
  if (status >= 500 || status === 408 || status === 429) return new MissingMetadata(`${answer}.`);
  const setting = settingOf(config);
  // Without what may be secret in it.
  const location = status >= 300 && status < 400 ? legible(bareAddress(headers.get('location'))) : undefined;
  if (location !== undefined) {
    return new UnusableMetadata(
      `${answer} and leads to ${location}, which is not followed. Correct ${setting}: the provider's metadata must be there itself.`,
    );
  }
  return new UnusableMetadata(`${answer}, and not with the provider's metadata. Correct ${setting}.`);
}

function bareAddress(address: string | null): string | undefined {
  return address?.replace(/[?#].*$/s, '').replace(/\/\/[^/@]*@/, '//');
}

async function documentIn(response: Response, address: string): Promise<Readonly<Record<string, unknown>>> {
  let content: unknown;
  try {
    content = await response.json();
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw new MissingMetadata(`${address} breaks off in its answer.`, { cause });
  }
  if (content instanceof Object && !Array.isArray(content)) return Object.fromEntries(Object.entries(content));
  const type = legible(response.headers.get('content-type')) ?? 'something';
  throw new UnusableMetadata(`${address} answers 200 with ${type} that is no JSON object: no provider's metadata.`);
}

function otherIssuer(address: string, issuer: unknown, config: Config): UnusableMetadata {
  const named = legible(issuer);
  const theirs = named === undefined ? 'no issuer' : `the issuer ${JSON.stringify(named)}`;
  return new UnusableMetadata(
    `The metadata at ${address} names ${theirs}, but the configured issuer is ${JSON.stringify(config.issuer)}. ` +
      'They must be the same to the letter, a "/" at the end included: correct SALLYPORT_ISSUER.',
  );
}

function settingOf({ discoveryUrl }: Config): string {
  return discoveryUrl === undefined ? 'SALLYPORT_ISSUER' : 'SALLYPORT_DISCOVERY_URL';
}

/** Members that are texts, numbers, switches or lists of texts; the metadata that is used has no others. */
function reduced(metadata: ServerMetadata): ServerMetadata {
  const kept = Object.entries(metadata).flatMap(([name, value]): Array<[string, unknown]> => {
    if (Array.isArray(value)) return [[name, value.filter((item) => typeof item === 'string')]];
    return ['string', 'number', 'boolean'].includes(typeof value) ? [[name, value]] : [];
  });
  return { ...Object.fromEntries(kept), issuer: metadata.issuer };
}

/** A list that says something; undefined if the provider leaves it out or empty. */
export function listOf(metadata: ServerMetadata, name: string): readonly string[] | undefined {
  const list: unknown = metadata[name];
  return Array.isArray(list) && list.length > 0 ? list.map(String) : undefined;
}
