/**
 * Builds the Dockerfile without an engine: every stage is a folder, COPY copies files, RUN runs in a shell there. What
 * it can't show is the base image itself, whose place the machine's own programs take. An instruction that it doesn't
 * know is an error, so that the Dockerfile can't outgrow it unnoticed.
 */
import { cp, mkdir, readFile, stat } from 'node:fs/promises';
import { basename, join, matchesGlob, relative } from 'node:path';
import { run } from './processes.ts';

export interface Image {
  /** The folder that stands for `/`. */
  root: string;
  workingDirectory: string;
  env: Record<string, string>;
  user: string | undefined;
  entrypoint: string[];
  command: string[];
  healthcheck: string[];
  labels: Record<string, string>;
}

interface Instruction {
  keyword: string;
  rest: string;
}

export interface BuildOptions {
  /** The build context, with Dockerfile and .dockerignore. */
  context: string;
  /** An empty folder for the stages. */
  folder: string;
  /** The stages to build, and what they need. Default: the last stage. */
  targets: string[];
}

/** Builds the targets; answers their images by name. */
export async function buildDockerfile({ context, folder, targets }: BuildOptions): Promise<Map<string, Image>> {
  const stages = splitStages(parseDockerfile(await readFile(join(context, 'Dockerfile'), 'utf8')));
  const isIgnored = parseDockerignore(await readFile(join(context, '.dockerignore'), 'utf8'));
  const images = new Map<string, Image>();

  async function build(name: string): Promise<Image> {
    const built = images.get(name);
    if (built !== undefined) return built;
    const stage = stages.get(name);
    if (stage === undefined) throw new Error(`The Dockerfile has no stage "${name}".`);
    const image = await startStage(stage.base, join(folder, name));
    images.set(name, image);
    for (const instruction of stage.instructions) await execute(instruction, image);
    return image;
  }

  async function startStage(base: string, root: string): Promise<Image> {
    if (!stages.has(base)) {
      await mkdir(root, { recursive: true });
      return { root, workingDirectory: '/', env: {}, user: undefined, ...noCommands() };
    }
    const parent = await build(base);
    await cp(parent.root, root, { recursive: true, verbatimSymlinks: true });
    return { ...structuredClone(parent), root };
  }

  async function execute({ keyword, rest }: Instruction, image: Image): Promise<void> {
    switch (keyword) {
      case 'WORKDIR':
        image.workingDirectory = rest;
        await mkdir(join(image.root, rest), { recursive: true });
        return;
      case 'ENV':
        Object.assign(image.env, parseAssignments(rest));
        return;
      case 'LABEL':
        Object.assign(image.labels, parseAssignments(rest));
        return;
      case 'USER':
        image.user = rest;
        return;
      case 'ENTRYPOINT':
        image.entrypoint = parseExecForm(rest);
        return;
      case 'CMD':
        image.command = parseExecForm(rest);
        return;
      case 'HEALTHCHECK':
        image.healthcheck = parseHealthcheck(rest);
        return;
      case 'EXPOSE':
      case 'ARG':
        return;
      case 'RUN':
        await run('/bin/sh', ['-ec', rest], {
          cwd: join(image.root, image.workingDirectory),
          // As an engine does, the machine lends its way to the package registry.
          env: { ...machineEnvironment(), ...image.env },
        });
        return;
      case 'COPY':
        await copy(rest, image);
        return;
      default:
        throw new Error(`The instruction ${keyword} is not known here.`);
    }
  }

  async function copy(rest: string, image: Image): Promise<void> {
    const words = rest.split(/\s+/);
    const from = words[0]?.startsWith('--from=') === true ? words.shift()?.slice('--from='.length) : undefined;
    const target = words.pop() ?? '';
    const source = from === undefined ? context : (await build(from)).root;
    const destination = target.startsWith('/')
      ? join(image.root, target)
      : join(image.root, image.workingDirectory, target);
    for (const word of words) {
      const path = join(source, word);
      // As in Docker: a folder's content is copied, and a file goes into a folder whose name ends in "/".
      const intoFolder = (await stat(path)).isFile() && /(?:^|\/)\.?\/?$/.test(target);
      await cp(path, intoFolder ? join(destination, basename(path)) : destination, {
        recursive: true,
        verbatimSymlinks: true,
        filter: (file) => from !== undefined || !isIgnored(relative(context, file)),
      });
    }
  }

  for (const target of targets) await build(target);
  return images;
}

/** The command of the HEALTHCHECK. */
export async function readHealthcheck(context: string): Promise<string[]> {
  const instructions = parseDockerfile(await readFile(join(context, 'Dockerfile'), 'utf8'));
  const healthcheck = instructions.find(({ keyword }) => keyword === 'HEALTHCHECK');
  if (healthcheck === undefined) throw new Error('The Dockerfile has no HEALTHCHECK.');
  return parseHealthcheck(healthcheck.rest);
}

function machineEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name]) => name !== 'NODE_ENV' && !name.startsWith('npm_'));
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

function noCommands(): Pick<Image, 'entrypoint' | 'command' | 'healthcheck' | 'labels'> {
  return { entrypoint: [], command: [], healthcheck: [], labels: {} };
}

/** One instruction a line; comments dropped, continued lines joined. */
function parseDockerfile(text: string): Instruction[] {
  const lines = text.split('\n').filter((line) => !line.trimStart().startsWith('#'));
  const joined = lines.join('\n').replaceAll(/\\\n\s*/g, '');
  return joined.split('\n').flatMap((line) => {
    const [, keyword, rest] = /^([A-Z]+)\s+(.+)$/.exec(line.trim()) ?? [];
    return keyword === undefined || rest === undefined ? [] : [{ keyword, rest }];
  });
}

interface Stage {
  base: string;
  instructions: Instruction[];
}

function splitStages(instructions: readonly Instruction[]): Map<string, Stage> {
  const stages = new Map<string, Stage>();
  let current: Stage | undefined;
  for (const instruction of instructions) {
    if (instruction.keyword === 'FROM') {
      const [, base = '', name = ''] = /^(\S+) AS (\S+)$/.exec(instruction.rest) ?? [];
      current = { base, instructions: [] };
      stages.set(name, current);
    } else current?.instructions.push(instruction);
  }
  return stages;
}

function parseAssignments(text: string): Record<string, string> {
  const pairs = text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S+))/g);
  return Object.fromEntries([...pairs].map(([, name = '', quoted, plain = '']) => [name, quoted ?? plain]));
}

/** What follows the options and `CMD`. */
function parseHealthcheck(text: string): string[] {
  return parseExecForm(text.slice(text.indexOf('CMD ') + 4));
}

function parseExecForm(text: string): string[] {
  const words: unknown = JSON.parse(text);
  if (!Array.isArray(words)) throw new Error(`${text} is not in the exec form.`);
  return words.map(String);
}

/** The last pattern that fits decides; `!` takes a path back in. A folder's pattern covers what is in it. */
function parseDockerignore(text: string): (path: string) => boolean {
  const patterns = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return function isIgnored(path) {
    if (path === '') return false;
    let ignored = false;
    for (const pattern of patterns) {
      const glob = pattern.replace(/^!/, '');
      // A folder on the way to a path that is taken back in is passed through.
      const isOnTheWay = pattern.startsWith('!') && glob.startsWith(`${path}/`);
      if (isOnTheWay || matchesGlob(path, glob) || matchesGlob(path, `${glob}/**`)) ignored = !pattern.startsWith('!');
    }
    return ignored;
  };
}
