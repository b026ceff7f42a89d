/** `sallyport start` in a folder of its own, until it listens. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { freePort } from './listener.ts';

/** What no file should hold. */
export const secrets = {
  SALLYPORT_CLIENT_SECRET: 'a client secret',
  SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
};

/** A new folder with these files. */
export async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-file-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

export interface Start {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the server and ends it when it listens. @returns the line that tells of it; throws what it said instead */
export async function started({ program, args, cwd, env = secrets }: Start): Promise<Record<string, unknown>> {
  const child = spawn(program, args, { cwd, env: { PATH: process.env['PATH'], ...env }, detached: true });
  const killed = new Promise((resolve) => child.once('close', resolve));
  try {
    return await new Promise((resolve, reject) => {
      let log = '';
      let errors = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        log += text;
        const line = log.split('\n').find((each) => each.endsWith('"listening"}'));
        if (line !== undefined) resolve(JSON.parse(line) as Record<string, unknown>);
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => void (errors += text));
      child.once('close', () => reject(new Error(errors)));
    });
  } finally {
    // npm runs the server as a child of its own.
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await killed;
  }
}

/** A file that uses a function and a symbol of the package, for an SPA in `dist/` beside it. */
export async function fileInTypeScript(): Promise<{ readonly origin: string; readonly code: string }> {
  const origin = `http://localhost:${await freePort()}`;
  const code = `
    import { dangerouslyAllowHttpIssuer, defineConfig } from 'sallyport';
    export default defineConfig({
      origin: '${origin}',
      issuer: 'http://login.test/',
      client: { id: 'my-app' },
      spa: { folder: './dist' },
      [dangerouslyAllowHttpIssuer]: true,
    });`;
  return { origin, code };
}
