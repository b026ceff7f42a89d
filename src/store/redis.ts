/**
 * The {@link Store} of several processes and machines: Redis from 7.0, or Valkey. Each operation is one script, which the
 * server runs as one step. Where an operation concerns several keys, which a Cluster may keep apart, their commands are
 * sent together, and repeating the operation mends what failed in part.
 */
import { readFileSync } from 'node:fs';
import { parseRedisUrl } from '../config/redis-url.ts';
import { RedisErrorReply } from './redis-connection.ts';
import { createRedisEpochs } from './redis-epochs.ts';
import { channelOf, createRedisMessages, sessionEndOf, writeMessage } from './redis-messages.ts';
import { createRedisOutages } from './redis-outages.ts';
import * as scripts from './redis-scripts.ts';
import { createRedisNodes } from './redis-topology.ts';
import type { ClaimResult, ListedSession, Revocation, SessionRecord, Store } from './store.ts';

export interface RedisStoreOptions {
  /** How the names of all keys and channels begin. */
  readonly prefix: string;
  /** A PEM file with certificate authorities, in place of the system's. */
  readonly caFile?: string | undefined;
  /**
   * Called with the reason why the store can't be reached, once for each reason and outage; never with the password.
   */
  readonly onError: (cause: Error) => void;
}

/** Sessions of a name are listed for a while longer than they were begun for, because calls may prolong them. */
const listedLonger = { factor: 1.25, ms: 60_000 };
const longestMs = 10 * 365 * 24 * 3600 * 1000;

/**
 * A store in Redis or Valkey. Returns at once and connects in the background.
 * @throws {RedisUrlFault} when the URL can't be read
 */
export function createRedisStore(url: string, { prefix, caFile, onError }: RedisStoreOptions): Store {
  const outages = createRedisOutages(onError);
  const ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8');
  const nodes = createRedisNodes(parseRedisUrl(url), ca, { outages, onConnected });
  const messages = createRedisMessages({ nodes, prefix, outages });
  const epochs = createRedisEpochs({ nodes, prefix, outages, run, onLost });
  const channel = channelOf(prefix);
  const operations = createOperations();
  const operation = operations.begin;

  function onConnected(): void {
    messages.doubt();
    epochs.onConnected();
  }

  function onLost(lastMs: number | undefined): void {
    // What was missed of the last moments, the heartbeats tell.
    if (lastMs === undefined) messages.forgetPast();
    messages.publishHere(lastMs === undefined ? { type: 'lost' } : { type: 'lost', lastMs });
  }

  async function run(script: scripts.Script, keys: readonly string[], parameters: readonly (string | number)[]) {
    const [first = ''] = keys;
    const rest = [String(keys.length), ...keys, ...parameters.map(String)];
    try {
      return await nodes.send(first, ['EVALSHA', script.sha, ...rest]);
    } catch (error) {
      // A server that was started, or took over, since.
      if (!(error instanceof RedisErrorReply) || error.code !== 'NOSCRIPT') throw error;
      return await nodes.send(first, ['EVAL', script.source, ...rest]);
    }
  }

  const runOnSession = (script: scripts.Script, session: string, ...parameters: readonly (string | number)[]) =>
    run(script, keysOf(prefix, session), parameters);

  async function enlist(session: string, names: readonly string[], listedMs: number): Promise<void> {
    await Promise.all(names.map((name) => run(scripts.enlist, [`${prefix}sessions:${name}`], [session, listedMs])));
  }

  /** Lists a session for longer that has been prolonged beyond the time for which it is listed. */
  async function listLonger(session: string, unlisted: unknown, ttlSeconds: number): Promise<void> {
    if (typeof unlisted !== 'string' || unlisted === '') return;
    const listedMs = listedMsOf(ttlSeconds);
    await enlist(session, unlisted.split(' '), listedMs);
    await runOnSession(scripts.noteListed, session, listedMs);
  }

  /** Those of the sessions that go on. */
  async function describe(sessions: readonly string[]): Promise<readonly ListedSession[]> {
    const found = await Promise.all(sessions.map((session) => runOnSession(scripts.describe, session)));
    return found.flatMap((reply, index) => {
      if (reply === null) return [];
      const [details, activeMsAgo] = reply as [string, number | null];
      return [{ session: sessions[index] ?? '', details, activeMsAgo: activeMsAgo ?? undefined }];
    });
  }

  return {
    shared: true,
    durable: true,

    begin: operation(async (session, { names, details, content }, ttlSeconds) => {
      const listedMs = listedMsOf(ttlSeconds);
      const begun = `${names.join(' ')}\n${details}`;
      const further = content === undefined ? [] : [content];
      await Promise.all([
        runOnSession(scripts.begin, session, milliseconds(ttlSeconds), listedMs, begun, ...further),
        enlist(session, names, listedMs),
      ]);
    }),

    look: operation(async (session, names) => {
      const [record, ...revocations] = await Promise.all([
        runOnSession(scripts.look, session),
        ...names.map((name) => nodes.send(revokedKey(prefix, name), ['GET', revokedKey(prefix, name)])),
      ]);
      return {
        record: recordOf(record),
        revocations: revocations.map(revocationOf).filter((revocation) => revocation !== undefined),
      };
    }),

    claim: operation(async (session, { generation, owner }, leaseMs, ttlSeconds) => {
      const lease = Math.ceil(leaseMs);
      const reply = await runOnSession(scripts.claim, session, milliseconds(ttlSeconds), generation, owner, lease);
      const [unlisted, state, detail] = reply as [unknown, ClaimResult['state'], unknown];
      await listLonger(session, unlisted, ttlSeconds);
      if (state === 'granted') return { state, interrupted: detail === 1 };
      return state === 'held' ? { state, leftMs: Number(detail) } : { state, record: recordOf(detail) };
    }),

    release: operation(async (session, { generation, owner }, interrupted) => {
      const message = writeMessage({ type: 'released', session });
      await runOnSession(scripts.release, session, generation, owner, interrupted ? 1 : 0, channel, message);
    }),

    advance: operation(async (session, { generation, content }, ttlSeconds) => {
      const message = writeMessage({ type: 'advanced', session, generation });
      const parameters = [milliseconds(ttlSeconds), generation, content, channel, message];
      const [unlisted, found] = (await runOnSession(scripts.advance, session, ...parameters)) as unknown[];
      await listLonger(session, unlisted, ttlSeconds);
      return found === null ? { advanced: true } : { advanced: false, record: recordOf(found) };
    }),

    confirm: operation(async (session, generation, graceMs) => {
      await runOnSession(scripts.confirm, session, generation, Math.ceil(Math.min(graceMs, longestMs)));
    }),

    touch: operation(async (session, ttlSeconds) => {
      const [unlisted] = (await runOnSession(scripts.touch, session, milliseconds(ttlSeconds))) as unknown[];
      await listLonger(session, unlisted, ttlSeconds);
    }),

    end: operation(async (session, reason, ttlSeconds) => {
      const message = writeMessage({ type: 'ended', session, reason });
      return (await runOnSession(scripts.end, session, milliseconds(ttlSeconds), reason, channel, message)) === 1;
    }),

    revoke: operation(async (name, { before, reason }, ttlSeconds) => {
      const message = writeMessage({ type: 'revoked', name, before, reason });
      const parameters = [before, reason, milliseconds(ttlSeconds), channel, message];
      await run(scripts.revoke, [revokedKey(prefix, name)], parameters);
    }),

    list: operation(async (name, limit) => {
      const found = new Map<string, ListedSession>();
      // Those that have ended are among them until their time is over.
      for (let behind = 0; found.size < limit; behind += limit) {
        const key = `${prefix}sessions:${name}`;
        const range = [String(-behind - limit), String(-behind - 1)];
        const sessions = (await nodes.send(key, ['ZRANGE', key, ...range])) as string[];
        for (const listed of (await describe(sessions)).toReversed()) found.set(listed.session, listed);
        if (sessions.length < limit) break;
      }
      return [...found.values()].slice(0, limit);
    }),

    useOnce: operation(async (name, ttlSeconds) => {
      const key = `${prefix}used:${name}`;
      return (await nodes.send(key, ['SET', key, '1', 'NX', 'PX', String(milliseconds(ttlSeconds))])) !== null;
    }),

    subscribe: (listener) => messages.subscribe(listener),
    heardSince: () => messages.heardSince(),
    reachable: () => nodes.isReachable(),

    async close() {
      epochs.close();
      await operations.end();
      await Promise.all([messages.close(), nodes.close()]);
    },
  };
}

interface Operations {
  /** An operation that may be called until the end. */
  readonly begin: <Args extends readonly unknown[], Result>(
    work: (...args: Args) => Promise<Result>,
  ) => (...args: Args) => Promise<Result>;
  /** Lets those under way end, which they do within the time limit of a command, mostly. */
  readonly end: () => Promise<void>;
}

function createOperations(): Operations {
  const running = new Set<Promise<unknown>>();
  let isClosed = false;
  return {
    begin:
      (work) =>
      async (...args) => {
        if (isClosed) throw new Error('The store is closed.');
        const result = work(...args);
        running.add(result);
        try {
          return await result;
        } finally {
          running.delete(result);
        }
      },
    async end() {
      isClosed = true;
      await Promise.allSettled(running);
    },
  };
}

/** In braces, because a Cluster keeps keys with the same text in braces on one server. */
function keysOf(prefix: string, session: string): readonly string[] {
  return ['session', 'content', 'details'].map((part) => `${prefix}${part}:{${session}}`);
}

function revokedKey(prefix: string, name: string): string {
  return `${prefix}revoked:${name}`;
}

function recordOf(reply: unknown): SessionRecord {
  const [ended, generation, content, confirmedMsAgo, activeMsAgo, oldestServed] = reply as [
    string | null,
    number,
    string | null,
    number | null,
    number | null,
    number,
  ];
  return {
    ended: ended === null ? undefined : sessionEndOf(ended),
    generation,
    content: content ?? undefined,
    confirmedMsAgo: confirmedMsAgo ?? undefined,
    activeMsAgo: activeMsAgo ?? undefined,
    oldestServed,
  };
}

function revocationOf(reply: unknown): Revocation | undefined {
  const [before = '', reason = ''] = typeof reply === 'string' ? reply.split(' ') : [];
  return reason === '' ? undefined : { before: Number(before), reason: sessionEndOf(reason) };
}

/** One that was over before its script is would leave without an end what that writes after it. */
const shortestMs = 100;

/** The server rejects a lifetime of 0, and one that its clock cannot hold. */
function milliseconds(seconds: number): number {
  return Math.min(longestMs, Math.max(shortestMs, Math.ceil(seconds * 1000)));
}

function listedMsOf(ttlSeconds: number): number {
  return Math.ceil(milliseconds(ttlSeconds) * listedLonger.factor + listedLonger.ms);
}
