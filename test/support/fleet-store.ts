/** What a fleet's processes agree through, as real servers, and what can happen to it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished, vi } from 'vitest';
import { startCluster, startSentinels } from './redis-groups.ts';
import { startRedis, type TestRedis } from './redis.ts';

/** `none`: each process holds its own. */
export type StoreKind = 'server' | 'sentinels' | 'cluster' | 'none';

export interface FleetStore {
  /** Undefined where there is none. */
  readonly url: string | undefined;
  /** Stops a server that is written to, for so long. Where others watch it, they may replace it meanwhile. */
  readonly pause: (ms: number) => Promise<void>;
  /** Breaks every connection. */
  readonly cut: () => Promise<void>;
  /** Kills a server that is written to, and resolves when its replica is in its place. */
  readonly failOver: () => Promise<void>;
}

const waiting = { timeout: 30_000, interval: 50 };

export async function startFleetStore(kind: StoreKind): Promise<FleetStore> {
  if (kind === 'none') return { url: undefined, pause: isMissing, cut: isMissing, failOver: isMissing };
  if (kind === 'server') {
    const server = await startRedis();
    onTestFinished(() => server.close());
    return { ...faultsOf([server], 1), url: server.url };
  }
  if (kind === 'sentinels') {
    const group = await startSentinels({ replicas: 2, settings: refusesAlone });
    onTestFinished(() => group.close());
    const isReplaced = async ({ port }: TestRedis) => {
      const addresses = await group.ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'the-master');
      return addresses.every((address) => !address.endsWith(`\n${port}`));
    };
    return { ...faultsOf(group.servers, 1, isReplaced), url: group.url };
  }
  const cluster = await startCluster({ failsAfterMs: 1500 });
  onTestFinished(() => cluster.close());
  return { ...faultsOf([...cluster.masters, ...cluster.replicas], cluster.masters.length), url: cluster.url };
}

/** A master without a replica takes no writes: it may be one that was replaced and does not know it yet. */
const refusesAlone = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', '2'];

function isMissing(): Promise<never> {
  return Promise.reject(new Error('This fleet has no server to agree through.'));
}

/** @param isReplaced whether all who are asked for the master name another one */
function faultsOf(
  servers: readonly TestRedis[],
  masterCount: number,
  isReplaced: (server: TestRedis) => Promise<boolean> = async () => true,
): Omit<FleetStore, 'url'> {
  let turn = 0;

  /** Those that are written to, when all others are their replicas and have what they have. */
  async function masters(): Promise<readonly TestRedis[]> {
    return vi.waitFor(async () => {
      const states = await Promise.all(servers.map((server) => server.ask('INFO', 'replication')));
      const found = servers.filter((_, index) => states[index]?.includes('role:master'));
      const following = states.filter((state) => state.includes('master_link_status:up')).length;
      if (found.length !== masterCount || following !== servers.length - masterCount) {
        throw new Error(`These servers are not in order: ${states.join('\n')}`);
      }
      return found;
    }, waiting);
  }

  async function nextMaster(): Promise<TestRedis> {
    const found = await masters();
    return found[turn++ % found.length] as TestRedis;
  }

  return {
    async pause(ms) {
      const server = await nextMaster();
      server.freeze();
      await sleep(ms);
      server.resume();
    },
    async cut() {
      for (const server of await masters()) {
        await server.ask('CLIENT', 'KILL', 'TYPE', 'normal');
        await server.ask('CLIENT', 'KILL', 'TYPE', 'pubsub');
      }
    },
    async failOver() {
      const server = await nextMaster();
      const others = servers.filter((each) => each !== server);
      await server.down();
      await vi.waitFor(async () => {
        const states = await Promise.all(others.map((other) => other.ask('ROLE')));
        const count = states.filter((state) => state.startsWith('master')).length;
        if (count !== masterCount) throw new Error(`${count} servers are written to`);
        if (!(await isReplaced(server))) throw new Error('it is still named as the master');
      }, waiting);
      // It comes back empty, and gets what the others have. Earlier, instances would read there that all is lost.
      await server.up();
    },
  };
}
