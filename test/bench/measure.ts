/**
 * What the operating system and wrk say: CPU time and memory of a process tree from /proc, and wrk's own counters.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { placed, workFolder } from './processes.ts';

/** One HTTP request as the load generators send it. */
export interface RequestSpec {
  readonly port: number;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
  /** A file of cookies, one a line. wrk sends a random one with each request, in place of that of the headers. */
  readonly cookieFile?: string;
}

/** What one wrk run saw. Latencies in milliseconds. */
export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** Resident memory of a process tree in bytes. */
export interface Memory {
  readonly resident: number;
  readonly peak: number;
}

const run = promisify(execFile);
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU seconds (user and system) that the process and its descendants have used so far. */
export function cpuSeconds(pid: number): number {
  const ticks = treeOf(pid).map((member) => {
    const fields = statFields(member);
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / ticksPerSecond;
}

/** Resident memory now, and its peak since the start or {@link resetPeak}. */
export function memory(pid: number): Memory {
  const total = { resident: 0, peak: 0 };
  for (const member of treeOf(pid)) {
    const status = readFileSync(`/proc/${member}/status`, 'utf8');
    total.resident += kilobytes(status, 'VmRSS') * 1024;
    total.peak += kilobytes(status, 'VmHWM') * 1024;
  }
  return total;
}

/** Sets the recorded peak back to what is resident now. */
export function resetPeak(pid: number): void {
  for (const member of treeOf(pid)) writeFileSync(`/proc/${member}/clear_refs`, '5');
}

/** Runs wrk with keep-alive connections; any socket error or status over 399 is an error. */
export async function wrk(spec: RequestSpec, seconds: number, connections: number): Promise<LoadResult> {
  const script = join(workFolder, `wrk-${spec.port}-${spec.method}.lua`);
  writeFileSync(script, luaScript(spec));
  const [program, ...args] = placed('rest', [
    'wrk',
    '--threads=1',
    `--connections=${connections}`,
    `--duration=${seconds}s`,
    '--timeout=10s',
    `--script=${script}`,
    `http://127.0.0.1:${spec.port}${spec.path}`,
  ]);
  const { stdout, stderr } = await run(program, args);
  const line = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result:\n${stdout}${stderr}`);
  const [requests = 0, micros = 0, p50 = 0, p99 = 0, ...errors] = line.split(' ').map(Number);
  if (errors.some((count) => count !== 0) || requests === 0) {
    throw new Error(
      `wrk on ${spec.path}: ${requests} requests, errors connect/read/write/status/timeout: ${errors.join('/')}`,
    );
  }
  return { requests, requestsPerSecond: requests / (micros / 1e6), p50: p50 / 1000, p99: p99 / 1000 };
}

/** The middle value; of an even count, the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const high = sorted[Math.floor(sorted.length / 2)];
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  if (high === undefined || low === undefined) throw new Error('no median of nothing');
  return (low + high) / 2;
}

/** How many processes the tree has. */
export function processCount(pid: number): number {
  return treeOf(pid).length;
}

function treeOf(root: number): number[] {
  // /proc/<pid>/task/*/children needs a kernel option that not every machine has, so look for parents instead.
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      parents.set(Number(entry), Number(statFields(Number(entry))[1]));
    } catch {
      // The process ended between the listing and the reading: it is no part of the tree any more.
    }
  }
  const tree = [root];
  for (const member of tree) {
    for (const [pid, parent] of parents) if (parent === member) tree.push(pid);
  }
  return tree;
}

/** The fields of /proc/<pid>/stat from the third (`state`) on; the second may hold spaces and brackets. */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function kilobytes(status: string, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status);
  if (!found) throw new Error(`/proc status has no ${field}`);
  return Number(found[1]);
}

function luaScript(spec: RequestSpec): string {
  return [
    `wrk.method =${quote(spec.method)}`,
    ...Object.entries(spec.headers).map(([name, value]) => `wrk.headers[${quote(name)}] =${quote(value)}`),
    ...(spec.body === undefined ? [] : [`wrk.body =${quote(spec.body)}`]),
    ...(spec.cookieFile === undefined ? [] : randomCookies(spec.cookieFile)),
    'done = function(summary, latency)',
    '  local e = summary.errors',
    '  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,',
    '    latency:percentile(50), latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))',
    'end',
    '',
  ].join('\n');
}

function randomCookies(file: string): string[] {
  return [
    'local cookies = {}',
    `for line in io.lines(${quote(file)}) do cookies[#cookies + 1] = line end`,
    'math.randomseed(os.time())',
    'request = function()',
    '  wrk.headers["cookie"] = cookies[math.random(#cookies)]',
    '  return wrk.format()',
    'end',
  ];
}

/** A Lua long string; the blank keeps `[` from running into it. */
function quote(text: string): string {
  return ` [==[${text}]==] `;
}
