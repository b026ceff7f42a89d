/**
 * The tutorial, followed literally: the commands and files of spa-example/README.md, in their order, in a folder beside
 * which the clone lies. A code block whose first line is a comment with a path is that file; a shell block is typed line by
 * line.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { codeBlocks, readPage, root, type CodeBlock } from './markdown.ts';

const page = 'spa-example/README.md';

export interface TutorialStep {
  readonly title: string;
  readonly blocks: readonly CodeBlock[];
}

/** The numbered sections. */
export function tutorialSteps(): TutorialStep[] {
  const text = readPage(page);
  const lineAt = (index: number) => text.slice(0, index).split('\n').length;
  const headings = [...text.matchAll(/^## (.*)$/gm)].map(({ 1: title = '', index }) => ({
    title,
    line: lineAt(index),
  }));
  return headings.flatMap(({ title, line }, index) => {
    if (!/^\d+\. /.test(title)) return [];
    const end = headings[index + 1]?.line ?? Infinity;
    const blocks = codeBlocks(page).filter(({ place }) => lineOf(place) > line && lineOf(place) < end);
    return [{ title, blocks }];
  });
}

function lineOf(place: string): number {
  return Number(place.split(':').at(-1));
}

/** The file that a block of the tutorial is. */
export function tutorialFile({ place, code }: Pick<CodeBlock, 'place' | 'code'>): string | undefined {
  return place.startsWith(`${page}:`) ? /^\/\/ (\S+\.tsx?)\n/.exec(code)?.[1] : undefined;
}

/** What stands for a command that would ask a registry. Gets the folder in which it is typed. */
export type StandIn = (folder: string) => Promise<void>;

export interface FollowOptions {
  /** By the command, literally. Each must be typed by the time the tutorial is over. */
  readonly standIns?: ReadonlyMap<string, StandIn>;
}

/** A program that was started and runs on. */
export interface RunningCommand {
  /** What it has written, without colours. */
  readonly output: () => string;
  readonly stop: () => Promise<void>;
}

/** Somebody who follows the tutorial. */
export interface Follower {
  /** The folder that they are in. */
  readonly folder: () => string;
  /** Takes a step. `replaced` stands for what the reader has of their own: addresses, secrets. */
  readonly take: (step: TutorialStep, replaced?: ReadonlyMap<string, string>) => Promise<void>;
  readonly type: (command: string) => Promise<string>;
  /** Every command that was typed, as the page has it. */
  readonly typed: readonly string[];
  /** The last command that runs on. */
  readonly running: () => RunningCommand;
  /** What all commands that run on have written. */
  readonly output: () => string;
}

/** Commands that end only when they are stopped. */
const servers = /\bnpm run dev$|\bsallyport start$/;

/** Starts in an empty folder, which goes with the test. */
export async function followTutorial({ standIns = new Map() }: FollowOptions = {}): Promise<Follower> {
  const home = await mkdtemp(join(tmpdir(), 'sallyport-tutorial-'));
  onTestFinished(() => rm(home, { recursive: true }));
  await symlink(root, join(home, 'sallyport'));
  let folder = home;
  const typed: string[] = [];
  const started: RunningCommand[] = [];
  // Before the folder goes.
  onTestFinished(async () => void (await Promise.all(started.map(({ stop }) => stop()))));

  async function type(command: string): Promise<string> {
    const [, elsewhere] = /^cd (\S+)$/.exec(command) ?? [];
    const standIn = standIns.get(command);
    if (elsewhere !== undefined) folder = join(folder, elsewhere);
    else if (standIn !== undefined) await standIn(folder);
    else if (servers.test(command)) started.push(startCommand(command, folder));
    else return runCommand(command, folder);
    return '';
  }

  return {
    folder: () => folder,
    type,
    typed,
    output: () => started.map(({ output }) => output()).join('\n'),
    running: () => {
      const last = started.at(-1);
      if (last === undefined) throw new Error('Nothing was started.');
      return last;
    },
    async take({ blocks }, replaced = new Map()) {
      const said = (text: string) => [...replaced].reduce((so, [from, to]) => so.replaceAll(from, to), text);
      for (const block of blocks) {
        const file = tutorialFile(block);
        if (file !== undefined) {
          await mkdir(dirname(join(folder, file)), { recursive: true });
          await replaceFile(join(folder, file), said(block.code), `${folder}.file`);
          await quiet(started);
        } else if (block.language === 'sh') {
          for (const command of block.code.trim().split('\n')) {
            typed.push(command);
            await type(said(command));
            await quiet(started);
          }
        }
      }
    },
  };
}

/**
 * Until nothing that runs has written for a second, as a person looks up before the next edit. Vite misses an edit that
 * comes while it restarts because of another one.
 */
async function quiet(running: readonly RunningCommand[]): Promise<void> {
  let before = '';
  await expect
    .poll(
      () => {
        const last = before;
        before = running.map(({ output }) => output()).join('');
        return before === last;
      },
      { interval: 1000, timeout: 30_000 },
    )
    .toBe(true);
}

/** In a shell as the reader's: of the test run's environment it has what leads to programs and to the registry. */
function shell(command: string, cwd: string): ChildProcess {
  const { PATH = '', HOME, NODE_EXTRA_CA_CERTS } = process.env;
  const env = { HOME, NODE_EXTRA_CA_CERTS, PATH: [dirname(process.execPath), PATH].join(delimiter) };
  return spawn('bash', ['-c', command], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
}

function outputOf({ stdout, stderr }: ChildProcess): () => string {
  let output = '';
  for (const stream of [stdout, stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => void (output += text));
  return () => stripVTControlCharacters(output);
}

async function runCommand(command: string, folder: string): Promise<string> {
  const child = shell(command, folder);
  onTestFinished(() => stopGroup(child));
  const output = outputOf(child);
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code, `${command}\n${output()}`).toBe(0);
  return output();
}

function startCommand(command: string, folder: string): RunningCommand {
  const child = shell(command, folder);
  const output = outputOf(child);
  const ended = once(child, 'close');
  return {
    output,
    async stop() {
      stopGroup(child);
      await ended;
    },
  };
}

/** npm runs the program as a child of its own. */
function stopGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGTERM');
}

/** In one step, as editors do: Vite would serve a file that is half written, and keep it. */
async function replaceFile(path: string, content: string, draft: string): Promise<void> {
  await writeFile(draft, content);
  await rename(draft, path);
}
