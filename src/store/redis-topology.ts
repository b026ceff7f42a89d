/** A single server, one that Sentinels choose, or a Cluster: what the address says. */
import type { RedisAddress } from '../config/redis-url.ts';
import { createClusterNodes } from './redis-cluster.ts';
import { connectToRedis } from './redis-connection.ts';
import { createRedisLink } from './redis-link.ts';
import type { RedisNodes, RedisNodesOptions } from './redis-nodes.ts';
import { createSentinelNodes } from './redis-sentinel.ts';

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
    tags: () => ['0'],
    publishers: () => [link],
    connectToSubscribe: connectToServer,
    isReachable: link.isConnected,
    close: () => link.close(),
  };
}
