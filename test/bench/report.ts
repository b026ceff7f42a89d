/**
 * The outcome of a run: the table on the terminal, the JSON and the picture. One typed shape feeds all three.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';

import type { ContenderName } from './contenders.ts';

/** What was measured of one contender, or of Sallyport in one of its modes: medians over the rounds. */
export interface Figure {
  readonly contender: string;
  readonly values: Record<string, number>;
}

/** A promise of the project and what came of it. */
export interface Goal {
  readonly what: string;
  readonly measured: number;
  /** The lowest and the highest round, where rounds were compared one by one. */
  readonly spread?: readonly [number, number];
  readonly bound: number;
  readonly kind: 'at most' | 'at least' | 'exactly';
  readonly unit: 'x' | 'ms' | 'KiB' | 'MiB' | '';
}

/** What one scenario found. */
export interface Outcome {
  readonly scenario: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  readonly goals: readonly Goal[];
  /** Things a reader must know to judge the figures. */
  readonly notes: readonly string[];
}

/** A whole run. */
export interface Report {
  readonly date: string;
  readonly machine: string;
  readonly versions: Record<string, string>;
  readonly rounds: number;
  /** Of the last five minutes, at the end: much above 2 says that others used the machine too. */
  readonly loadAverage: number;
  readonly outcomes: readonly Outcome[];
}

/** Whether the measured value keeps the promise. */
export function isMet(goal: Goal): boolean {
  const { kind, measured, bound } = goal;
  if (kind === 'exactly') return measured === bound;
  return kind === 'at most' ? measured <= bound : measured >= bound;
}

/** The machine and the versions that the figures belong to. */
export function describeRun(rounds: number, outcomes: readonly Outcome[]): Report {
  const cores = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cores.length} x ${cores[0]?.model.trim() ?? 'unknown processor'}`,
    versions: {
      node: process.versions.node,
      nginx: firstMatch(['nginx', '-v'], /nginx\/([\d.]+)/),
      wrk: firstMatch(['wrk', '-v'], /wrk (\S+)/),
      sallyport: firstMatch(['git', 'describe', '--always', '--dirty'], /(\S+)/),
    },
    rounds,
    loadAverage: loadavg()[1] ?? 0,
    outcomes,
  };
}

/** `unclear` where some rounds keep the promise and others don't: the machine was too busy to tell. */
function verdict(goal: Goal): string {
  const rounds = new Set((goal.spread ?? []).map((measured) => isMet({ ...goal, measured })));
  if (rounds.size > 1) return `unclear (${isMet(goal) ? 'met' : 'MISSED'} by the median)`;
  return isMet(goal) ? 'met' : 'MISSED';
}

/** The table of one scenario. */
export function printOutcome(outcome: Outcome): void {
  console.log(`\n${outcome.title}`);
  if (outcome.figures.length > 0) {
    const columns = [...new Set(outcome.figures.flatMap(({ values }) => Object.keys(values)))];
    printTable([
      ['', ...columns],
      ...outcome.figures.map(({ contender, values }) => [
        labelOf(contender),
        ...columns.map((column) => (values[column] === undefined ? '' : formatted(values[column]))),
      ]),
    ]);
  }
  for (const note of outcome.notes) console.log(`  ${note}`);
}

/** All goals, with what was measured. */
export function printGoals(outcomes: readonly Outcome[]): void {
  console.log('\nGoals');
  const goals = outcomes.flatMap((outcome) => outcome.goals);
  printTable([
    ['', 'measured', 'rounds', 'goal', ''],
    ...goals.map((goal) => [
      goal.what,
      withUnit(goal.measured, goal.unit),
      goal.spread === undefined ? '' : goal.spread.map((value) => value.toFixed(2)).join(' - '),
      `${goal.kind} ${withUnit(goal.bound, goal.unit)}`,
      verdict(goal),
    ]),
  ]);
}

/** Writes `results/<date>.json`, `results/latest.json` and, where CPU was compared, `results/latest.svg`. */
export function writeReport(report: Report): string {
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const json = `${JSON.stringify(report, undefined, 2)}\n`;
  writeFileSync(join(folder, `${report.date}.json`), json);
  writeFileSync(join(folder, 'latest.json'), json);
  const cpu = report.outcomes.find(({ scenario }) => scenario === 'get');
  if (cpu) writeFileSync(join(folder, 'latest.svg'), picture(report, cpu));
  return folder;
}

const labels: Record<ContenderName, string> = {
  sallyport: 'Sallyport',
  floor: 'floor: undici Pool, no listeners',
  bare: 'bare node:http + undici',
  nginx: 'nginx',
  express: 'express-openid-connect + http-proxy-middleware',
};

/** Modes of Sallyport and the like are named in words already. */
function labelOf(contender: string): string {
  return Object.hasOwn(labels, contender) ? labels[contender as ContenderName] : contender;
}

/** A bar for each contender: CPU per request, the shorter the better. Readable on light and dark pages. */
function picture(report: Report, outcome: Outcome): string {
  const bars = outcome.figures
    .map(({ contender, values }) => ({ contender, micros: values[cpuColumn] ?? 0 }))
    .toSorted((a, b) => a.micros - b.micros);
  const widest = Math.max(...bars.map(({ micros }) => micros));
  const rowHeight = 44;
  const top = 58;
  const height = top + bars.length * rowHeight + 34;
  const rows = bars.map(({ contender, micros }, index) => {
    const y = top + index * rowHeight;
    const width = Math.max(2, (micros / widest) * 560);
    return `  <text x="20" y="${y + 12}">${labelOf(contender)}</text>
  <rect x="20" y="${y + 18}" width="${width.toFixed(1)}" height="14" rx="3" fill="${contender === 'sallyport' ? '#2f81f7' : '#8b949e'}"/>
  <text x="${(28 + width).toFixed(1)}" y="${y + 30}">${Math.round(micros)} µs</text>`;
  });
  const versions = `Node ${report.versions['node']}, nginx ${report.versions['nginx']}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 ${height}" width="720" height="${height}" role="img" aria-label="CPU time per proxied request">
  <style>text { font: 13px system-ui, sans-serif; fill: #6e7781 } .title { font-size: 16px; font-weight: 600 } .small { font-size: 11px }</style>
  <text class="title" x="20" y="28">CPU time per authenticated GET of 1 kB (less is better)</text>
${rows.join('\n')}
  <text class="small" x="20" y="${height - 12}">${report.date} · ${versions} · ${report.machine} · median of ${report.rounds} rounds · nginx, bare and floor: no sign-in, no log</text>
</svg>
`;
}

/** The column that the picture shows. */
export const cpuColumn = 'CPU us/request';

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log(`  ${cells.join('   ').trimEnd()}`);
  }
}

function withUnit(value: number, unit: Goal['unit']): string {
  return unit === 'x' ? `${value.toFixed(2)} x` : `${formatted(value)} ${unit}`.trim();
}

function formatted(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-GB');
  return value.toFixed(2);
}

function firstMatch(command: readonly [string, ...string[]], pattern: RegExp): string {
  const [program, ...args] = command;
  // `nginx -v` prints on stderr and `wrk -v` ends with status 1, so take what the shell shows.
  const output = execFileSync('sh', ['-c', `${[program, ...args].join(' ')} 2>&1; true`], { encoding: 'utf8' });
  return pattern.exec(output)?.[1] ?? 'unknown';
}
