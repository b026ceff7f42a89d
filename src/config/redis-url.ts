/**
 * The address of Redis or Valkey, parsed here, so that no library puts a URL, and with it the password, into a message.
 *
 * - `redis://user:password@host:6379/0`, `rediss://…` over TLS
 * - `unix:///run/redis.sock?db=0`
 * - `redis+sentinel://user:password@host:26379,host:26379/master-name/0`, with `?sentinelPassword=…` where the Sentinels
 *   have one of their own; `rediss+sentinel://…`
 * - `redis+cluster://user:password@host:6379,host:6379`, `rediss+cluster://…`
 */

/** Where one server listens. */
export type RedisNode = { readonly host: string; readonly port: number } | { readonly path: string };

export interface RedisCredentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

export interface RedisAddress {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  /** The server; the Sentinels; or those nodes of a Cluster that are asked for the others. */
  readonly nodes: readonly [RedisNode, ...RedisNode[]];
  readonly tls: boolean;
  readonly credentials: RedisCredentials;
  readonly database: number;
  /** What the Sentinels call the servers that they watch. */
  readonly masterName: string;
  readonly sentinelCredentials: RedisCredentials;
}

/** Why a text is no address, with the remedy; never with a part of the text. */
export class RedisUrlFault extends Error {}

const example = 'must be a URL such as "redis://127.0.0.1:6379"';
const encoding = 'percent-encode what is special in its password';
const sentinelExample = '"redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster"';

/** @throws {RedisUrlFault} */
export function parseRedisUrl(text: string): RedisAddress {
  const parts =
    /^(?:(rediss?)(?:\+(sentinel|cluster))?|unix):\/\/(?:([^/?#]*)@)?([^/?#@]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(text);
  if (parts === null) throw new RedisUrlFault(`${example}; ${encoding}`);
  const [, scheme, kind = 'server', user = '', hosts = '', path = '', query = ''] = parts;
  const parameters = new URLSearchParams(query);
  const common = { tls: scheme === 'rediss', credentials: credentialsOf(user), masterName: '', ...noSentinels };
  if (scheme === undefined) return { ...common, kind: 'server', ...parseSocket(hosts, path, parameters) };
  const nodes = parseHosts(hosts, kind === 'sentinel' ? 26379 : 6379);
  if (kind === 'sentinel') return { ...common, kind, nodes, ...parseSentinel(path, parameters) };
  refuseParameters(parameters, []);
  const database = databaseOf(path.slice(1));
  if (kind === 'cluster' && database !== 0)
    throw new RedisUrlFault('must name no database: a Cluster has number 0 only');
  if (kind === 'server' && nodes.length > 1) {
    throw new RedisUrlFault(
      'names several servers; write "redis+sentinel://" or "redis+cluster://" for what joins them, or name one',
    );
  }
  return { ...common, kind: kind === 'cluster' ? 'cluster' : 'server', nodes, database };
}

const noSentinels = { sentinelCredentials: { username: undefined, password: undefined } };

function parseSocket(hosts: string, path: string, parameters: URLSearchParams) {
  if (hosts !== '' || path.length < 2) {
    throw new RedisUrlFault('must name the socket by its whole path, e.g. "unix:///run/redis/redis.sock"');
  }
  refuseParameters(parameters, ['db']);
  return { nodes: [{ path: decoded(path) }] as const, database: databaseOf(parameters.get('db') ?? '') };
}

function parseSentinel(path: string, parameters: URLSearchParams) {
  const [name = '', database = '', ...rest] = path.slice(1).split('/');
  if (name === '' || rest.length > 0) {
    throw new RedisUrlFault(`must end in the name that the Sentinels know the master by, e.g. ${sentinelExample}`);
  }
  refuseParameters(parameters, ['sentinelUsername', 'sentinelPassword']);
  return {
    masterName: decoded(name),
    database: databaseOf(database),
    sentinelCredentials: {
      username: parameters.get('sentinelUsername') ?? undefined,
      password: parameters.get('sentinelPassword') ?? undefined,
    },
  };
}

function refuseParameters(parameters: URLSearchParams, known: readonly string[]): void {
  const isKnown = [...parameters.keys()].every((name) => known.includes(name));
  if (isKnown) return;
  const which =
    known.length === 0 ? 'no parameters' : `no parameters but ${known.map((name) => `"${name}"`).join(', ')}`;
  throw new RedisUrlFault(`can have ${which}; remove what follows "?", or ${encoding}`);
}

function parseHosts(text: string, defaultPort: number): RedisAddress['nodes'] {
  const [first = '', ...rest] = text.split(',');
  return [parseHost(first, defaultPort), ...rest.map((host) => parseHost(host, defaultPort))];
}

function parseHost(text: string, defaultPort: number): RedisNode {
  const url = URL.canParse(`redis://${text}`) ? new URL(`redis://${text}`) : undefined;
  if (url === undefined || url.hostname === '') throw new RedisUrlFault(`${example}; ${encoding}`);
  // Only a URL writes an IPv6 address in brackets.
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port || defaultPort) };
}

function credentialsOf(user: string): RedisCredentials {
  const colon = user.indexOf(':');
  const [username, password] = colon < 0 ? [user, ''] : [user.slice(0, colon), user.slice(colon + 1)];
  return { username: decoded(username) || undefined, password: decoded(password) || undefined };
}

function databaseOf(text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw new RedisUrlFault('must end in the number of the database, or in none');
  return Number(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisUrlFault(`holds a "%" that begins no escape; ${encoding}`);
  }
}
