/** The servers that hold the store, whatever joins them: which one has a key, and from which one messages come. */
import type { RedisAddress, RedisNode } from '../config/redis-url.ts';
import { createClusterNodes } from './redis-cluster.ts';
import { connectToRedis, type RedisConnection } from './redis-connection.ts';
import { createRedisLink, type RedisLink } from './redis-link.ts';
import type { RedisOutages } from './redis-outages.ts';
import { createSentinelNodes } from './redis-sentinel.ts';

export interface RedisNodes {
  /** Sends a command to the server that has the key. */
  send(key: string, command: readonly string[]): Promise<unknown>;
  /** Every server that may publish a message. */
  readonly publishers: () => readonly RedisLink[];
  /** A connection on which the messages of all publishers come. */
  connectToSubscribe(): Promise<RedisConnection>;
  readonly isReachable: () => boolean;
  close(): Promise<void>;
}

export interface RedisNodesOptions {
  readonly address: RedisAddress;
  readonly outages: RedisOutages;
  /** Called when one of the publishers was connected. */
  readonly onConnected: () => void;
  /** Connects to a server that holds data. */
  readonly connect: (node: RedisNode) => Promise<RedisConnection>;
  readonly connectToSentinel: (node: RedisNode) => Promise<RedisConnection>;
}

/** @param ca PEM, in place of the system's authorities */
export function createRedisNodes(
  address: RedisAddress,
  ca: string | undefined,
  events: Pick<RedisNodesOptions, 'outages' | 'onConnected'>,
): RedisNodes {
  const { credentials, sentinelCredentials, database } = address;
  const tls = address.tls ? { ca } : undefined;
  const options: RedisNodesOptions = {
    ...events,
    address,
    connect: (node) => connectToRedis({ node, tls, credentials, database }),
    connectToSentinel: (node) => connectToRedis({ node, tls, credentials: sentinelCredentials, database: 0 }),
  };
  if (address.kind === 'sentinel') return createSentinelNodes(options);
  return address.kind === 'cluster' ? createClusterNodes(options) : createServerNodes(options);
}

function createServerNodes({ address, connect, outages, onConnected }: RedisNodesOptions): RedisNodes {
  const [server] = address.nodes;
  const connectToServer = () => connect(server);
  const link = createRedisLink({ connect: connectToServer, outages, onConnected });
  return {
    send: (_key, command) => link.send(command),
    publishers: () => [link],
    connectToSubscribe: connectToServer,
    isReachable: link.isConnected,
    close: () => link.close(),
  };
}
