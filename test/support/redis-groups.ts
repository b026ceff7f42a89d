/** Servers that belong together, as real processes on loopback: a Cluster, and a master with replicas under Sentinels. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { freePort } from './listener.ts';
import { redisPrograms, startRedis, talk, type TestRedis } from './redis.ts';
import { startTcpLink } from './tcp-link.ts';

export interface TestCluster {
  readonly url: string;
  readonly masters: readonly TestRedis[];
  readonly replicas: readonly TestRedis[];
  /** What the other servers send to this one does not arrive any more, until they connect to it again. */
  readonly silenceTowards: (server: TestRedis) => void;
  readonly close: () => Promise<void>;
}

/** A master waits for further replicas otherwise. */
const quickly = ['--repl-diskless-sync-delay', '0'];

const waiting = { timeout: 20_000, interval: 50 };

export interface TestClusterOptions {
  readonly program?: string;
  /** After how long a server that is silent is replaced. By default a busy machine causes no failover. */
  readonly failsAfterMs?: number;
}

/** Three masters, each with a replica. */
export async function startCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const { program = redisPrograms[0], failsAfterMs = 20_000 } = options;
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-cluster-'));
  const nodes = await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      const busPort = await freePort();
      const bus = await startTcpLink(busPort);
      const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '20000'];
      const ports = ['--cluster-port', String(busPort), '--cluster-announce-bus-port', String(bus.port)];
      const file = ['--cluster-config-file', join(folder, `${index}.conf`), '--cluster-announce-ip', '127.0.0.1'];
      const server = await startRedis({ program, settings: [...cluster, ...ports, ...file, ...quickly] });
      await server.ask('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
      return { server, bus };
    }),
  );
  const servers = nodes.map(({ server }) => server);
  const [masters, replicas] = [servers.slice(0, 3), servers.slice(3)];
  for (const [index, master] of masters.entries()) {
    const from = Math.floor((index * 16384) / 3);
    await master.ask('CLUSTER', 'ADDSLOTSRANGE', String(from), String(Math.floor(((index + 1) * 16384) / 3) - 1));
  }
  for (const { server, bus } of nodes.slice(1)) {
    await nodes[0]?.server.ask('CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(bus.port));
  }
  await everyone(servers, (info) => info.includes('cluster_known_nodes:6'));
  for (const [index, replica] of replicas.entries()) {
    const id = await masters[index]?.ask('CLUSTER', 'MYID');
    await vi.waitFor(async () => expectText(await replica.ask('CLUSTER', 'REPLICATE', id ?? ''), 'OK'), waiting);
    await vi.waitFor(
      async () => expectText(await replica.ask('INFO', 'replication'), 'master_link_status:up'),
      waiting,
    );
  }
  await everyone(servers, (info) => info.includes('cluster_state:ok'));
  for (const server of servers) await server.ask('CONFIG', 'SET', 'cluster-node-timeout', String(failsAfterMs));
  return {
    url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    masters,
    replicas,
    silenceTowards(server) {
      nodes.find((node) => node.server === server)?.bus.silence();
    },
    async close() {
      await Promise.all(nodes.map(async ({ server, bus }) => Promise.all([server.close(), bus.close()])));
      await rm(folder, { recursive: true });
    },
  };
}

async function everyone(servers: readonly TestRedis[], isReady: (info: string) => boolean): Promise<void> {
  await vi.waitFor(async () => {
    for (const server of servers) if (!isReady(await server.ask('CLUSTER', 'INFO'))) throw new Error('not yet');
  }, waiting);
}

function expectText(text: string, part: string): void {
  if (!text.includes(part)) throw new Error(`There is no "${part}" in "${text}".`);
}

export interface TestSentinels {
  readonly url: string;
  readonly servers: readonly TestRedis[];
  readonly master: () => Promise<TestRedis>;
  /** Asks each Sentinel. */
  readonly ask: (...command: string[]) => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
}

export interface TestSentinelsOptions {
  readonly program?: string;
  readonly password?: string;
  readonly sentinelPassword?: string;
  /** Default 1. */
  readonly replicas?: number;
  /** Further arguments of each server. */
  readonly settings?: readonly string[];
}

/** A master and its replicas, watched by three Sentinels. */
export async function startSentinels(options: TestSentinelsOptions = {}): Promise<TestSentinels> {
  const { program = redisPrograms[0], password, sentinelPassword, replicas: count = 1, settings = [] } = options;
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-sentinel-'));
  const secret = password === undefined ? [] : ['--masterauth', password];
  const servers = await Promise.all(
    Array.from({ length: 1 + count }, async () => {
      const all = [...quickly, ...secret, ...settings];
      return startRedis({ program, settings: all, ...(password === undefined ? {} : { password }) });
    }),
  );
  const [first, ...replicas] = servers;
  if (first === undefined) throw new Error('unreachable');
  for (const replica of replicas) {
    await replica.ask('REPLICAOF', '127.0.0.1', String(first.port));
    await vi.waitFor(
      async () => expectText(await replica.ask('INFO', 'replication'), 'master_link_status:up'),
      waiting,
    );
  }
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const signIn = sentinelPassword === undefined ? [] : [['AUTH', sentinelPassword]];
  const sentinels: ChildProcess[] = [];
  for (const port of ports) {
    const file = join(folder, `${port}.conf`);
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder}`,
      `sentinel monitor the-master 127.0.0.1 ${first.port} 2`,
      'sentinel down-after-milliseconds the-master 500',
      'sentinel failover-timeout the-master 2000',
      ...(password === undefined ? [] : [`sentinel auth-pass the-master ${password}`]),
      ...(sentinelPassword === undefined
        ? []
        : [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]),
    ];
    await writeFile(file, `${lines.join('\n')}\n`);
    sentinels.push(spawn(program, [file, '--sentinel'], { stdio: 'ignore' }));
  }
  const ask = (...command: string[]) => Promise.all(ports.map((port) => talk(port, [...signIn, command])));
  // Each one must have found the others and the replica, or it elects nobody.
  await vi.waitFor(async () => {
    for (const state of await ask('SENTINEL', 'MASTER', 'the-master')) {
      expectText(state, `num-slaves\n${count}`);
      expectText(state, 'num-other-sentinels\n2');
    }
  }, waiting);
  const user = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
  const query = sentinelPassword === undefined ? '' : `?sentinelPassword=${encodeURIComponent(sentinelPassword)}`;
  return {
    url: `redis+sentinel://${user}${ports.map((port) => `127.0.0.1:${port}`).join(',')}/the-master${query}`,
    servers,
    ask,
    async master() {
      const [address = ''] = await ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'the-master');
      const found = servers.find(({ port }) => address.split('\n')[1] === String(port));
      if (found === undefined) throw new Error(`No server is at ${address}.`);
      return found;
    },
    async close() {
      for (const sentinel of sentinels) if (sentinel.kill('SIGKILL')) await once(sentinel, 'exit');
      await Promise.all(servers.map((server) => server.close()));
      await rm(folder, { recursive: true });
    },
  };
}
