/**
 * A Cluster: each server has some of the 16384 slots, and a key's slot follows from its name (Redis Cluster specification).
 * Which server has which slot is asked when one is lost, when one says that a slot has moved, and from time to time. A
 * command that a server refuses because the slot is elsewhere was not done, and is sent there.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { RedisNode } from '../config/redis-url.ts';
import { detach } from '../detached.ts';
import { withTimeout } from '../timeout.ts';
import { type RedisConnection, RedisErrorReply, storeTimeoutMs } from './redis-connection.ts';
import { createRedisLink, type RedisLink } from './redis-link.ts';
import type { RedisNodes, RedisNodesOptions } from './redis-nodes.ts';
import { slotCount, slotOf } from './redis-slots.ts';

const askEveryMs = 10_000;
/** While a server is lost, or slots have none. */
const askSoonMs = 250;
const maximumRedirects = 5;
/** A slot is moved key by key. A command about several keys waits until all are on one side. */
const whileMovingMs = 50;

/** A server that has slots. */
interface Member {
  readonly node: RedisNode;
  readonly link: RedisLink;
}

/** From, to, and the server: its host, or null for the one that was asked, and its port. Then replicas. */
type SlotRange = readonly [number, number, readonly [string | null, number, ...unknown[]], ...unknown[]];

export function createClusterNodes(options: RedisNodesOptions): RedisNodes {
  const { address, connect, outages, onConnected } = options;
  const members = new Map<string, Member>();
  /** By slot. */
  let owners: readonly (Member | undefined)[] = [];
  let publishers: readonly Member[] = [];
  let tags: readonly string[] = [];
  let subscribedTo: Member | undefined;
  const self = {};
  const closing = new AbortController();
  let asksSoon = new AbortController();
  const firstAnswer = Promise.withResolvers<void>();
  const ended = keepAsking();
  detach(ended, (error) => outages.report(self, error as Error));

  async function keepAsking(): Promise<void> {
    while (!closing.signal.aborted) {
      asksSoon = new AbortController();
      await ask();
      firstAnswer.resolve();
      await (isReachable() ? pauseFor(askEveryMs, asksSoon.signal) : pauseFor(askSoonMs));
    }
  }

  async function pauseFor(ms: number, ...endedBy: readonly AbortSignal[]): Promise<void> {
    const signal = AbortSignal.any([closing.signal, ...endedBy]);
    await pause(ms * (0.75 + Math.random() / 2), undefined, { signal, ref: false }).catch(() => undefined);
  }

  function askSoon(): void {
    asksSoon.abort();
  }

  /** Asks one server after the other, in any order, because one that is cut off answers what was. */
  async function ask(): Promise<void> {
    for (const { link, node } of shuffled(publishers.filter((member) => member.link.isConnected()))) {
      const slots = await link.send(['CLUSTER', 'SLOTS']).catch(() => undefined);
      if (slots !== undefined) return learn(slots as SlotRange[], node);
    }
    const failures: Error[] = [];
    for (const node of shuffled(address.nodes)) {
      if (closing.signal.aborted) return;
      try {
        return learn(await slotsOf(await connect(node)), node);
      } catch (error) {
        failures.push(error as Error);
      }
    }
    for (const failure of failures) outages.report(self, failure);
  }

  function learn(ranges: readonly SlotRange[], asked: RedisNode): void {
    const learned: (Member | undefined)[] = Array.from({ length: slotCount });
    for (const [from, to, [host, port]] of ranges) {
      // A server that does not know the name of another one.
      if (host !== '?') learned.fill(memberAt(host, port, asked), from, to + 1);
    }
    owners = learned;
    publishers = [...new Set(learned)].filter((member) => member !== undefined);
    tags = publishers.flatMap((member) => tagAt(member, owners));
    outages.end(self);
    for (const [name, member] of members) {
      if (publishers.includes(member)) continue;
      members.delete(name);
      detach(member.link.close(), (error) => outages.report(self, error as Error));
    }
  }

  function memberAt(host: string | null, port: number, asked: RedisNode): Member {
    const node = { host: host || ('host' in asked ? asked.host : ''), port };
    const name = `${node.host}:${port}`;
    const known = members.get(name);
    if (known !== undefined) return known;
    const link = createRedisLink({ connect: () => connect(node), outages, onConnected, onLost: askSoon });
    const member = { node, link };
    members.set(name, member);
    return member;
  }

  async function send(key: string, command: readonly string[]): Promise<unknown> {
    if (owners.length === 0) await withTimeout(firstAnswer.promise, storeTimeoutMs, () => undefined);
    const owner = owners[slotOf(key)];
    if (owner === undefined) throw new Error('No server of the Cluster has this key.', outages.causeOf(self));
    return sendTo(owner, command, maximumRedirects);
  }

  async function sendTo(
    member: Member,
    command: readonly string[],
    redirects: number,
    asking = false,
  ): Promise<unknown> {
    try {
      if (asking) return await sendAsking(member.link, command);
      return await member.link.send(command);
    } catch (error) {
      if (!(error instanceof RedisErrorReply)) throw error;
      if (error.code === 'MOVED' || error.code === 'CLUSTERDOWN') askSoon();
      if (redirects === 0) throw error;
      if (error.code === 'TRYAGAIN') {
        await pauseFor(whileMovingMs);
        return sendTo(member, command, redirects - 1, asking);
      }
      const target = redirectOf(error);
      if (target === undefined) throw error;
      const other = memberAt(target.host, target.port, member.node);
      return sendTo(other, command, redirects - 1, error.code === 'ASK');
    }
  }

  function isReachable(): boolean {
    return publishers.length > 0 && publishers.every(({ link }) => link.isConnected());
  }

  return {
    send,
    tags: () => tags,
    publishers: () => publishers.map(({ link }) => link),
    async connectToSubscribe(): Promise<RedisConnection> {
      await withTimeout(firstAnswer.promise, storeTimeoutMs, () => undefined);
      // Another one than before, which may be cut off from the others.
      const others = publishers.filter((member) => member !== subscribedTo);
      const connected = others.filter(({ link }) => link.isConnected());
      [subscribedTo] = shuffled([connected, others, publishers].find((choice) => choice.length > 0) ?? []);
      if (subscribedTo === undefined) throw new Error('No server of the Cluster answers.', outages.causeOf(self));
      return connect(subscribedTo.node);
    },
    isReachable,
    async close() {
      closing.abort();
      firstAnswer.resolve();
      await Promise.all([ended, ...[...members.values()].map(({ link }) => link.close())]);
    },
  };
}

/** The first number whose slot the server has: the same one for every process that knows the same slots. */
function tagAt(member: Member, owners: readonly (Member | undefined)[]): readonly string[] {
  for (let number = 0; number < slotCount; number += 1) {
    if (owners[slotOf(String(number))] === member) return [String(number)];
  }
  // It has a handful of the slots.
  return [];
}

async function slotsOf(connection: RedisConnection): Promise<readonly SlotRange[]> {
  try {
    return (await connection.send(['CLUSTER', 'SLOTS'])) as SlotRange[];
  } finally {
    await connection.close();
  }
}

/** `MOVED 3999 10.0.0.1:6381`: the slot is there. `ASK …`: only this command goes there, because the slot is on its way. */
function redirectOf({ message }: RedisErrorReply): { readonly host: string; readonly port: number } | undefined {
  const [, host, port] = /^(?:MOVED|ASK) \d+ (.*):(\d+)$/.exec(message) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}

/** Both are written in one tick, so that no other command comes between. */
async function sendAsking(link: RedisLink, command: readonly string[]): Promise<unknown> {
  const [, reply] = await Promise.all([link.send(['ASKING']), link.send(command)]);
  return reply;
}

function shuffled<T>(items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .toSorted((one, other) => one.order - other.order)
    .map(({ item }) => item);
}
