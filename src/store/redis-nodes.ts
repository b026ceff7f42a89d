/** The servers that hold the store, whatever joins them: which one has a key, and which one messages come from. */
import type { RedisAddress, RedisNode } from '../config/redis-url.ts';
import { connectToRedis, type RedisConnection } from './redis-connection.ts';
import { createRedisLink, type RedisLink } from './redis-link.ts';
import type { RedisOutages } from './redis-outages.ts';

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
  /** PEM, in place of the system's authorities. */
  readonly ca: string | undefined;
  readonly outages: RedisOutages;
  readonly onConnected: () => void;
}

export function createRedisNodes({ address, ca, outages, onConnected }: RedisNodesOptions): RedisNodes {
  const connect = (node: RedisNode) =>
    connectToRedis({
      node,
      credentials: address.credentials,
      database: address.database,
      tls: address.tls ? { ca } : undefined,
    });
  const [node] = address.nodes;
  if (node === undefined) throw new TypeError('The address names no server.');
  const link = createRedisLink({ connect: () => connect(node), outages, onConnected });
  return {
    send: (_key, command) => link.send(command),
    publishers: () => [link],
    connectToSubscribe: () => connect(node),
    isReachable: link.isConnected,
    close: () => link.close(),
  };
}
