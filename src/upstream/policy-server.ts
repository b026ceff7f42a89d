/**
 * Calls of a policy server (Open Policy Agent, `POST /v1/data/…`): few connections, a time limit, a bounded answer, and no
 * more calls at a time than such a server can mean to answer. Follows no redirect, and goes through no proxy, because
 * claims are in it. Hides undici's pool.
 */
import { Pool } from 'undici';
import { isConnectionEnd } from './connection-end.ts';

/** A decision is small. */
const maximumAnswerBytes = 64 * 1024;
const maximumConnections = 64;
/** Calls that are made or wait for a connection. More would only come too late. */
const maximumPending = 1024;
/** Shorter than what servers usually grant, so that an idle connection is rarely a dead one. */
const keepAliveMs = 4000;

export interface PolicyServer {
  /**
   * Posts JSON, and yields the JSON that comes back.
   * @throws {Error} for whatever is no such answer in time
   */
  ask(path: string, body: string): Promise<unknown>;
  close(): Promise<void>;
}

/** @param url without a query; its path stands before that of a call */
export function createPolicyServer(url: URL, timeoutSeconds: number): PolicyServer {
  const timeoutMs = timeoutSeconds * 1000;
  const basePath = url.pathname.replace(/\/$/, '');
  const pool = new Pool(url.origin, {
    connections: maximumConnections,
    connect: { timeout: timeoutMs },
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    // The call's own limit is a whole one.
    headersTimeout: 0,
    bodyTimeout: 0,
    allowH2: false,
  });
  let pending = 0;

  async function ask(path: string, body: string): Promise<unknown> {
    if (pending >= maximumPending) throw new Error(`${maximumPending} calls wait for the policy server already.`);
    pending += 1;
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      // It may have closed an idle connection just now, and a question changes nothing there.
      return await post(path, body, signal).catch((error: unknown) => {
        if (signal.aborted || !isConnectionEnd(error)) throw error;
        return post(path, body, signal);
      });
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new Error(`The policy server did not answer within ${timeoutSeconds} s.`, { cause: error });
    } finally {
      pending -= 1;
    }
  }

  async function post(path: string, body: string, signal: AbortSignal): Promise<unknown> {
    const response = await pool.request({
      path: basePath + path,
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body,
      signal,
    });
    const { statusCode } = response;
    const text = await readBounded(response.body);
    if (statusCode !== 200) throw new Error(`The policy server answered with status ${statusCode}.`);
    return JSON.parse(text);
  }

  return { ask, close: () => pool.destroy() };
}

/** To leave the loop destroys the body, and its connection with it. */
async function readBounded(body: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('A body consists of bytes.');
    size += chunk.length;
    if (size > maximumAnswerBytes)
      throw new Error(`The policy server's answer has more than ${maximumAnswerBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
