/**
 * Keeps a connection, for ever: makes a lost one anew, with a pause that grows. While there is none, commands fail at once;
 * only for the first attempt after a loss they wait, because it mostly succeeds in a moment. No command is queued, or sent
 * twice.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { detach } from '../detached.ts';
import { withTimeout } from '../timeout.ts';
import { type RedisConnection, RedisErrorReply, RedisTimeout, storeTimeoutMs } from './redis-connection.ts';
import type { RedisOutages } from './redis-outages.ts';

const firstPauseMs = 50;
const longestPauseMs = 500;

export interface RedisLink {
  send(command: readonly string[]): Promise<unknown>;
  readonly isConnected: () => boolean;
  /** Drops the connection, so that it is made anew. */
  drop(cause: Error): void;
  close(): Promise<void>;
}

export interface RedisLinkOptions {
  /** One attempt. */
  readonly connect: () => Promise<RedisConnection>;
  readonly outages: RedisOutages;
  readonly onConnected?: () => void;
  readonly onLost?: () => void;
}

export function createRedisLink({ connect, outages, onConnected, onLost }: RedisLinkOptions): RedisLink {
  const closing = new AbortController();
  let connection: RedisConnection | undefined;
  /** Settles with the first attempt since the start, or since a connection was lost. */
  let firstAttempt = Promise.withResolvers<void>();
  const self = {};
  const ended = keepConnected();
  // Its own failures are translated; another one is a mistake here, and must not be lost.
  detach(ended, (error) => outages.report(self, error as Error));

  async function keepConnected(): Promise<void> {
    let failures = 0;
    while (!closing.signal.aborted) {
      const wasUsed = await connectOnce();
      firstAttempt.resolve();
      failures = wasUsed ? 0 : failures + 1;
      if (wasUsed) firstAttempt = Promise.withResolvers();
      await pauseFor(Math.min(longestPauseMs, firstPauseMs * 2 ** failures) * (0.5 + Math.random() / 2));
    }
  }

  /** @returns whether there was a connection that was of use, which is lost now */
  async function connectOnce(): Promise<boolean> {
    let opened: RedisConnection;
    try {
      opened = await connect();
    } catch (error) {
      outages.report(self, error as Error);
      return false;
    }
    if (closing.signal.aborted) {
      await opened.close();
      return false;
    }
    connection = opened;
    if (opened.wasUsed()) outages.end(self);
    firstAttempt.resolve();
    onConnected?.();
    const cause = await opened.lost;
    connection = undefined;
    onLost?.();
    if (cause instanceof RedisTimeout) outages.report(self, cause);
    return opened.wasUsed();
  }

  async function sendOn(opened: RedisConnection, command: readonly string[]): Promise<unknown> {
    const isFirst = !opened.wasUsed();
    try {
      const reply = await opened.send(command);
      if (isFirst) outages.end(self);
      return reply;
    } catch (error) {
      // After a failover, the name or the Sentinels lead to another server.
      if (error instanceof RedisErrorReply && error.code === 'READONLY') {
        outages.report(self, error);
        opened.drop(error);
      }
      throw error;
    }
  }

  async function pauseFor(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: closing.signal }).catch(() => undefined);
  }

  return {
    async send(command) {
      if (closing.signal.aborted) throw new Error('The store is closed.');
      if (connection === undefined) await withTimeout(firstAttempt.promise, storeTimeoutMs, () => undefined);
      if (connection === undefined) throw new Error('There is no connection to the store.', outages.causeOf(self));
      return sendOn(connection, command);
    },
    isConnected: () => connection !== undefined,
    drop: (cause) => connection?.drop(cause),
    async close() {
      closing.abort();
      firstAttempt.resolve();
      await connection?.close();
      await ended;
    },
  };
}
