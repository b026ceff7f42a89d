/**
 * One server at a time, which Sentinels choose (Redis documentation, "Guidelines for Redis clients with support for Redis
 * Sentinel"). They are asked before each connection, and once a second, because a master that is cut off from them goes on
 * answering. Most of them decide: one that is cut off itself knows only the master from before.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { RedisNode } from '../config/redis-url.ts';
import { detach } from '../detached.ts';
import { loadRedisClient, type RedisConnection } from './redis-connection.ts';
import { createRedisLink, type RedisLink } from './redis-link.ts';
import type { RedisNodes, RedisNodesOptions } from './redis-nodes.ts';
import { createRedisOutages } from './redis-outages.ts';

const askEveryMs = 1000;

export function createSentinelNodes(options: RedisNodesOptions): RedisNodes {
  const { address, connect, connectToSentinel, outages, onConnected } = options;
  const closing = new AbortController();
  // What is wrong with a Sentinel is of interest only where no master is found. The error then tells it.
  const unheard = createRedisOutages(() => undefined);
  const sentinels = address.nodes.map((node) =>
    createRedisLink({ connect: () => connectToSentinel(node), outages: unheard }),
  );
  /** Connections to masters, and to which. */
  const opened = new Map<RedisConnection, string>();
  const link = createRedisLink({ connect: connectToMaster, outages, onConnected });
  detach(watch(), (error) => outages.report(link, error as Error));

  async function connectToMaster(): Promise<RedisConnection> {
    // It takes a part of the time for which the Sentinels are waited for.
    await loadRedisClient();
    const master = await findMaster(sentinels, address.masterName);
    const connection = await connect(master);
    try {
      await requireMaster(connection, master);
    } catch (error) {
      await connection.close();
      throw error;
    }
    opened.set(connection, nameOf(master));
    detach(
      connection.lost.then(() => opened.delete(connection)),
      () => undefined,
    );
    return connection;
  }

  async function requireMaster(connection: RedisConnection, master: RedisNode): Promise<void> {
    const [role] = (await connection.send(['ROLE'])) as string[];
    // Asked again, because one that was paused is the master no longer when it goes on, but does not know it.
    const now = await findMaster(sentinels, address.masterName);
    if (role === 'master' && nameOf(now) === nameOf(master)) return;
    throw new Error(`The Sentinels named ${nameOf(master)} as the master, but it is one no longer.`);
  }

  async function watch(): Promise<void> {
    while (!closing.signal.aborted) {
      await pause(askEveryMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined);
      const master = await findMaster(sentinels, address.masterName).catch(() => undefined);
      for (const [connection, name] of opened) {
        if (master !== undefined && name !== nameOf(master)) connection.drop(new Error('The master has changed.'));
      }
    }
  }

  return {
    send: (_key, command) => link.send(command),
    tags: () => ['0'],
    publishers: () => [link],
    connectToSubscribe: connectToMaster,
    isReachable: link.isConnected,
    async close() {
      closing.abort();
      await Promise.all([link, ...sentinels].map((each) => each.close()));
    },
  };
}

/** What most of the Sentinels say that answer. One that does not answer is waited for once, by its link. */
async function findMaster(sentinels: readonly RedisLink[], masterName: string): Promise<RedisNode> {
  const votes = new Map<string, { readonly node: RedisNode; count: number }>();
  let failure = new Error(`The Sentinels know no master by the name "${masterName}".`);
  const ask = async (sentinel: RedisLink): Promise<void> => {
    const reply = await sentinel.send(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName]);
    if (reply === null) return;
    const [host = '', port] = reply as string[];
    const node = { host, port: Number(port) };
    votes.set(nameOf(node), { node, count: (votes.get(nameOf(node))?.count ?? 0) + 1 });
  };
  for (const answer of await Promise.allSettled(sentinels.map(ask))) {
    const reason = answer.status === 'rejected' ? (answer.reason as Error) : undefined;
    failure = (reason?.cause as Error | undefined) ?? reason ?? failure;
  }
  const [chosen] = [...votes.values()].toSorted((one, other) => other.count - one.count);
  if (chosen === undefined) throw new Error(`No Sentinel names a master: ${failure.message}`);
  return chosen.node;
}

function nameOf(node: RedisNode): string {
  return 'path' in node ? node.path : `${node.host}:${node.port}`;
}
