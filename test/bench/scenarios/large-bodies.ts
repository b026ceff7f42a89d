/** 1 GiB down and up through each proxy: throughput, CPU, and how far its memory grows, for a slow client too. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type Contender, type ContenderName, startContender } from '../contenders.ts';
import { cpuSeconds, median, memory, resetPeak } from '../measure.ts';
import { placed, workFolder } from '../processes.ts';
import type { Goal } from '../report.ts';
import { largeBytes } from '../upstream/nginx.ts';

import { note, ratioGoals, rotated, type Samples, type Scenario } from './scenario.ts';

const mebibyte = 1024 ** 2;
const slowBytes = 128 * mebibyte;
const slowBytesPerSecond = 32 * mebibyte;
const run = promisify(execFile);

/** Large downloads and uploads. */
export const largeBodiesScenario: Scenario = {
  name: 'large',
  async run(bench) {
    // Processes of their own: a heap that earlier loads have grown would hide what is buffered here.
    const contenders: Contender[] = [];
    for (const { name } of bench.contenders) {
      if (name !== 'express' && name !== 'floor') contenders.push(await startContender(name, bench.around));
    }
    const down: Samples = new Map();
    const up: Samples = new Map();
    const downCpu: Samples = new Map();
    const upCpu: Samples = new Map();
    const growth: Samples = new Map();
    const slowGrowth: Samples = new Map();
    // The slow client comes first: a heap that the fast ones have grown would hide what is buffered for it.
    for (const contender of contenders) {
      const slow = ['-r', `0-${slowBytes - 1}`, '--limit-rate', String(slowBytesPerSecond), '-o', '/dev/null'];
      const result = await transfer(contender, [...slow, `${contender.origin}/api/large`], '206', slowBytes);
      note(slowGrowth, contender.name, result.memoryGrowth / mebibyte);
    }
    for (let round = 0; round < bench.rounds; round += 1) {
      for (const contender of rotated(contenders, round)) {
        const download = await transfer(
          contender,
          ['-o', '/dev/null', `${contender.origin}/api/large`],
          '200',
          largeBytes,
        );
        const upload = await transfer(contender, uploadArguments(contender), '200', largeBytes);
        note(down, contender.name, download.bytesPerSecond / mebibyte);
        note(up, contender.name, upload.bytesPerSecond / mebibyte);
        note(downCpu, contender.name, download.cpuSeconds);
        note(upCpu, contender.name, upload.cpuSeconds);
        note(growth, contender.name, Math.max(download.memoryGrowth, upload.memoryGrowth) / mebibyte);
      }
    }
    for (const contender of contenders) await contender.process.stop();
    const goals: Goal[] = [
      ...ratioGoals(down, 'bare', {
        what: '1 GiB download: throughput, against the bare proxy',
        bound: 0.85,
        kind: 'at least',
      }),
      ...ratioGoals(up, 'bare', {
        what: '1 GiB upload: throughput, against the bare proxy',
        bound: 0.85,
        kind: 'at least',
      }),
    ];
    if (contenders.some(({ name }) => name === 'sallyport')) {
      const most = { bound: 48, kind: 'at most', unit: 'MiB' } as const;
      goals.push(
        { what: '1 GiB either way: memory growth, worst round', measured: worst(growth, 'sallyport'), ...most },
        { what: 'slow client: memory growth', measured: worst(slowGrowth, 'sallyport'), ...most },
      );
    }
    return {
      scenario: 'large',
      title: '1 GiB down and up over one connection',
      figures: contenders.map((contender) => {
        const of = (samples: Samples): number => median(samples.get(contender.name) ?? []);
        return {
          contender: contender.name,
          values: {
            'down MiB/s': of(down),
            'up MiB/s': of(up),
            'down CPU s': of(downCpu),
            'up CPU s': of(upCpu),
            'growth MiB (worst)': worst(growth, contender.name),
            'slow client MiB': worst(slowGrowth, contender.name),
          },
        };
      }),
      goals,
      notes: [`Slow client: ${slowBytes / mebibyte} MiB read at ${slowBytesPerSecond / mebibyte} MiB/s.`],
    };
  },
};

function worst(samples: Samples, contender: ContenderName): number {
  return Math.max(...(samples.get(contender) ?? []));
}

interface Transfer {
  readonly bytesPerSecond: number;
  readonly cpuSeconds: number;
  readonly memoryGrowth: number;
}

function uploadArguments(contender: Contender): string[] {
  const headers = [
    '-H',
    'content-type: application/octet-stream',
    '-H',
    `origin: ${contender.origin}`,
    '-H',
    'expect:',
  ];
  return ['-X', 'POST', ...headers, '-T', join(workFolder, 'large.bin'), `${contender.origin}/stream/sink`];
}

async function transfer(
  contender: Contender,
  args: readonly string[],
  status: string,
  bytes: number,
): Promise<Transfer> {
  const { pid } = contender.process;
  const headers = Object.entries(contender.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const write = ['-w', '\n%{http_code} %{size_download} %{size_upload} %{time_total}'];
  const [program, ...rest] = placed('rest', ['curl', '-sS', '--http1.1', ...write, ...headers, ...args]);
  resetPeak(pid);
  const before = memory(pid).resident;
  const cpuBefore = cpuSeconds(pid);
  const { stdout } = await run(program, rest);
  const line = stdout.slice(stdout.lastIndexOf('\n') + 1);
  const [gotStatus, downloaded, uploaded, seconds] = line.split(' ');
  if (gotStatus !== status || Math.max(Number(downloaded), Number(uploaded)) !== bytes) {
    throw new Error(
      `${contender.name}: curl reports "${line}", expected ${status} and ${bytes} bytes\n${stdout.slice(0, 500)}`,
    );
  }
  if (args.includes('-T') && !stdout.includes(`"received":${bytes}`)) {
    throw new Error(`${contender.name}: the upload arrived incomplete: ${stdout.slice(0, 200)}`);
  }
  return {
    bytesPerSecond: bytes / Number(seconds),
    cpuSeconds: cpuSeconds(pid) - cpuBefore,
    memoryGrowth: Math.max(0, memory(pid).peak - before),
  };
}
