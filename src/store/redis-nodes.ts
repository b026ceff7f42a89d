/** The servers that hold the store, whatever joins them: which one has a key, and from which one messages come. */
import type { RedisAddress, RedisNode } from '../config/redis-url.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisLink } from './redis-link.ts';
import type { RedisOutages } from './redis-outages.ts';

export interface RedisNodes {
  /** Sends a command to the server that has the key. */
  send(key: string, command: readonly string[]): Promise<unknown>;
  /** One text for each server that has keys: a key with that text in braces is there. */
  readonly tags: () => readonly string[];
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
