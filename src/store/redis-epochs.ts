/**
 * Whether a server still has what was written to it. A key without meaning, the epoch, is there as long as everything else
 * is: where another stands in its place, the server was emptied, or has started without its data, whether or not a
 * connection was cut. A server that was away may have been replaced by one that lacks its last moments.
 */
import { randomUUID } from 'node:crypto';
import { monotonicMs } from '../clock.ts';
import { detach } from '../detached.ts';
import { RedisErrorReply } from './redis-connection.ts';
import type { RedisNodes } from './redis-nodes.ts';
import type { RedisOutages } from './redis-outages.ts';
import * as scripts from './redis-scripts.ts';

const checkMs = 1000;
/**
 * A server that was not seen for so long, and then connected anew, may be another one since. Where the connection is the
 * same, this process alone stood still.
 */
const awayMs = 2500;
/** How far a replica may lag behind. */
const lagMs = 10_000;
/** For how long the epoch of a server lives that no process sees. */
const keptMs = 7 * 24 * 3600 * 1000;

export interface RedisEpochs {
  /** A server was connected, which may be another one than before. Checks now. */
  onConnected(): void;
  close(): void;
}

interface RedisEpochsOptions {
  readonly nodes: Pick<RedisNodes, 'tags'>;
  readonly prefix: string;
  readonly outages: RedisOutages;
  readonly run: (
    script: scripts.Script,
    keys: readonly string[],
    parameters: readonly (string | number)[],
  ) => Promise<unknown>;
  /** Called where a server may have lost the writes of the last `lastMs`; undefined: everything. */
  readonly onLost: (lastMs: number | undefined) => void;
}

interface Seen {
  readonly epoch: string;
  /** In milliseconds of the monotonic clock. */
  readonly at: number;
}

export function createRedisEpochs({ nodes, prefix, outages, run, onLost }: RedisEpochsOptions): RedisEpochs {
  /** By the servers' tags. */
  let seen = new Map<string, Seen>();
  const checking = new Set<string>();
  /** When a server last was connected, or could not be looked at. */
  let awayAt = -Infinity;
  const refused = {};
  const timer = setInterval(check, checkMs).unref();

  function check(): void {
    const tags = nodes.tags();
    // What was not looked at for a while may have run its time.
    seen = new Map([...seen].filter(([tag]) => tags.includes(tag)));
    for (const tag of tags) {
      if (checking.has(tag)) continue;
      checking.add(tag);
      detach(
        checkServer(tag).finally(() => checking.delete(tag)),
        (error) => {
          awayAt = monotonicMs();
          // Whoever needs the store reports that it is away.
          if (error instanceof RedisErrorReply) outages.report(refused, error);
        },
      );
    }
  }

  function onConnected(): void {
    awayAt = monotonicMs();
    check();
  }

  async function checkServer(tag: string): Promise<void> {
    const at = monotonicMs();
    const epoch = String(await run(scripts.epoch, [`${prefix}epoch:{${tag}}`], [randomUUID(), keptMs]));
    outages.end(refused);
    const earlier = seen.get(tag);
    seen.set(tag, { epoch, at });
    if (earlier === undefined) return;
    const unseenMs = at - earlier.at;
    if (earlier.epoch !== epoch) onLost(undefined);
    else if (unseenMs > awayMs && awayAt > earlier.at) onLost(unseenMs + lagMs);
  }

  return { onConnected, close: () => clearInterval(timer) };
}
