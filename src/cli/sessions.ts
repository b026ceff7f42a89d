/**
 * `sallyport sessions list|end`: the operator's hand on the sessions of a running server, by its listener for operations.
 * Its address and its token are those of the configuration; a token on the command line would stand in the list of
 * processes.
 */
import { resolve } from 'node:path';
import { withEnvFile } from '../config/env-file.ts';
import { loadConfig } from '../config/sources.ts';
import { overlay } from '../config/variables.ts';
import { UsageError } from './messages.ts';

interface SessionsOptions {
  readonly config?: string;
  readonly url?: string;
  readonly json?: boolean;
  readonly sub?: string;
  readonly sid?: string;
  readonly handle?: string;
}

interface Listener {
  readonly url: string;
  readonly token: string;
}

interface ListedSession {
  readonly handle: string;
  readonly createdAt: string;
  readonly lastSeenAt: string;
  readonly userAgent: string | null;
  readonly address: string | null;
}

const timeoutMs = 10_000;

export async function sessions(action: 'list' | 'end', options: SessionsOptions): Promise<void> {
  const path = pathOf(action, options);
  const listener = await listenerOf(options);
  const response = await call(listener, action === 'list' ? 'GET' : 'DELETE', path);
  const isJson = options.json === true;
  if (action === 'end') {
    console.log(isJson ? JSON.stringify({ ended: true }) : 'ended');
    return;
  }
  const { sessions: listed } = (await response.json()) as { readonly sessions: readonly ListedSession[] };
  if (isJson) console.log(JSON.stringify({ sessions: listed }, undefined, 2));
  else console.log(listed.length === 0 ? 'no sessions' : tableOf(listed));
}

/** @throws {UsageError} unless exactly one thing says which sessions */
function pathOf(action: 'list' | 'end', { sub, sid, handle }: SessionsOptions): string {
  const given = Object.entries({ sub, sid, handle }).filter(([, value]) => value !== undefined);
  const [name, value = ''] = given[0] ?? [];
  if (given.length !== 1 || (action === 'list' && name === 'handle')) {
    const choices = action === 'list' ? '--sub or --sid' : '--sub, --sid or --handle';
    throw new UsageError(`"sallyport sessions ${action}" needs one of ${choices}.`);
  }
  return name === 'handle'
    ? `/sessions/${encodeURIComponent(value)}`
    : `/sessions?${new URLSearchParams([[String(name), value]]).toString()}`;
}

/** With an address and the token's variable, no configuration is needed. */
async function listenerOf({ config: file, url }: SessionsOptions): Promise<Listener> {
  if (url !== undefined && !/^https?:\/\//.test(url)) {
    throw new UsageError('--url needs an address such as http://127.0.0.1:9400.');
  }
  const { listen } = overlay({}, withEnvFile(resolve(), process.env)).input;
  if (url !== undefined && file === undefined && listen?.opsToken !== undefined) return { url, token: listen.opsToken };
  const { config } = await loadConfig(file, process.env);
  const { host, opsPort, opsToken } = config.listen;
  if (opsToken === undefined) {
    throw new Error('fault: no token is configured; set SALLYPORT_OPS_TOKEN (or _FILE) as the server has it.');
  }
  if (url !== undefined) return { url, token: opsToken };
  if (opsPort === undefined) {
    throw new Error('fault: no listener for operations is configured; set SALLYPORT_OPS_PORT, or give --url.');
  }
  return { url: `http://${reachable(host)}:${opsPort}`, token: opsToken };
}

/** Who listens at every address is reached at loopback. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

/** @throws {Error} that says what is wrong, unless it succeeds */
async function call({ url, token }: Listener, method: string, path: string): Promise<Response> {
  const response = await send(new URL(path, url), method, token);
  if (response.ok) return response;
  if (response.status === 401) throw new Error(`fault: ${url} does not take this token; is it the server's?`);
  const detail = (await detailOf(response)) ?? `The answer is ${response.status}.`;
  const doubt = response.status === 404 ? ` Is ${url} the listener for operations, with a token set?` : '';
  throw new Error(`fault: ${detail}${doubt}`);
}

async function send(address: URL, method: string, token: string): Promise<Response> {
  try {
    return await fetch(address, {
      method,
      headers: { authorization: `Bearer ${token}` },
      // The token is for this address alone.
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new Error(`fault: ${address.origin} does not answer: ${cause}`, { cause: error });
  }
}

/** What a problem says; undefined for another answer. */
async function detailOf(response: Response): Promise<string | undefined> {
  if (response.headers.get('content-type') !== 'application/problem+json') return undefined;
  const { detail } = (await response.json()) as { readonly detail?: unknown };
  return typeof detail === 'string' ? detail : undefined;
}

function tableOf(listed: readonly ListedSession[]): string {
  const rows = [
    ['handle', 'signed in', 'last seen', 'browser', 'network'],
    ...listed.map(({ handle, createdAt, lastSeenAt, userAgent, address }) => {
      return [handle, createdAt, lastSeenAt, userAgent ?? 'unknown', address ?? 'unknown'];
    }),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return lines.map((line) => line.trimEnd()).join('\n');
}
