/** The Dockerfile, command by command, and what comes out of it: started as its user on a tree it can't write. */
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { projectFolder } from './compose-file.ts';
import { buildDockerfile } from './dockerfile.ts';
import type { Image } from './dockerfile.ts';
import { run, startProcess, succeeds, untilReady } from './processes.ts';
import type { ServerProcess } from './processes.ts';

let folder: string;
let images: Map<string, Image>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-image-'));
  // The image's user, like everybody, may pass through to what it may read.
  await chmod(folder, 0o755);
  images = await buildDockerfile({ context: projectFolder, folder, targets: ['sallyport', 'demo'] });
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

test('holds the built server, production dependencies and nothing else', async () => {
  const { root } = imageNamed('sallyport');

  expect((await readdir(root)).toSorted()).toEqual(['app']);
  expect((await readdir(join(root, 'app'))).toSorted()).toEqual(['dist', 'node_modules', 'package.json']);
  const packages = await readdir(join(root, 'app/node_modules'));
  expect(packages).toEqual(expect.arrayContaining(['hono', 'openid-client', 'iron-webcrypto', 'undici']));
  for (const name of ['typescript', 'vitest', 'vite', 'oidc-provider', 'node']) expect(packages).not.toContain(name);
  const megabytes = (await sizeOf(root)) / 1e6;
  process.stdout.write(`The image adds ${megabytes.toFixed(1)} MB to its base.\n`);
  expect(megabytes).toBeLessThan(40);
});

test('lets no secret, history or test into the build', async () => {
  const { root } = imageNamed('spa');

  const files = await readdir(join(root, 'app'), { recursive: true });

  expect(files.filter((file) => !file.includes('node_modules'))).not.toEqual(
    expect.arrayContaining([expect.stringMatching(/(^|\/)(\.git|\.env.*|secrets|test|Dockerfile)$/)]),
  );
});

test('names its user by a number, its labels, and the files of the example', async () => {
  const image = imageNamed('sallyport');

  expect(image.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  expect(Object.keys(image.labels)).toEqual(
    expect.arrayContaining(
      ['title', 'description', 'licenses', 'version'].map((key) => `org.opencontainers.image.${key}`),
    ),
  );
  expect(await readFile(join(imageNamed('demo').root, 'srv/spa/index.html'), 'utf8')).toContain('<script');
});

test('starts as an unprivileged PID 1 on a read-only tree, is healthy, and ends by SIGTERM', async () => {
  const image = imageNamed('sallyport');
  const port = String(await freePort());
  const env = { ...image.env, ...(await sampleEnvironment(port)), SALLYPORT_OPS_PORT: String(await freePort()) };
  const cwd = join(image.root, image.workingDirectory);
  await run('chmod', ['-R', 'a-w', image.root], { cwd });
  expect(await succeedsInside(image, ['/bin/sh', '-c', 'echo x > dist/cli/main.js || echo x > new'], env)).toBe(false);

  const server = startInside(image, [...image.entrypoint, ...image.command], env);
  await untilReady(server, () => succeedsInside(image, image.healthcheck, env), 30);
  const page = await fetch(`http://127.0.0.1:${port}/`);
  const session = await fetch(`http://127.0.0.1:${port}/bff/session`, { headers: { 'x-csrf': '1' } });

  expect(await page.text()).toContain('the app');
  expect(await session.json()).toMatchObject({ authenticated: false });
  expect(await stopInside(server)).toBe(0);
  await run('chmod', ['-R', 'u+w', image.root], { cwd });
});

test('reads a configuration in code from outside its own folder, as the documentation mounts one', async () => {
  const image = imageNamed('sallyport');
  const mounted = join(folder, 'etc/sallyport');
  await mkdir(mounted, { recursive: true });
  const port = String(await freePort());
  const file = join(mounted, 'sallyport.config.ts');
  const code = `import { defineConfig } from 'sallyport';
    export default defineConfig({
      origin: 'http://localhost:${port}',
      issuer: 'http://127.0.0.1:9/nobody-is-there',
      client: { id: 'sallyport' },
      spa: { folder: './spa' },
    });`;
  await writeFile(file, code);
  await mkdir(join(mounted, 'spa'));
  await writeFile(join(mounted, 'spa/index.html'), '<!doctype html><title>the mounted app</title>');
  const env = {
    ...image.env,
    SALLYPORT_HOST: '127.0.0.1',
    SALLYPORT_OPS_PORT: String(await freePort()),
    SALLYPORT_CLIENT_SECRET: 'a client secret of some length',
    SALLYPORT_SECRET: '0123456789abcdef0123456789abcdef0123456789abcdef',
  };

  const server = startInside(image, [...image.entrypoint, 'start', '--config', file], env);
  await untilReady(server, () => succeedsInside(image, image.healthcheck, env), 30);

  expect(await (await fetch(`http://127.0.0.1:${port}/`, { headers: { host: `localhost:${port}` } })).text()).toContain(
    'the mounted app',
  );
  expect(await stopInside(server)).toBe(0);
});

test('runs the other commands of the CLI', async () => {
  const image = imageNamed('sallyport');
  const [program = '', ...args] = asImageUser(image, [...image.entrypoint, 'keygen']);

  const output = await run(program, args, { cwd: join(image.root, image.workingDirectory), env: image.env });

  expect(output.trim().length).toBeGreaterThanOrEqual(32);
});

test("runs the demo's API, healthy and ended by SIGTERM", async () => {
  const image = imageNamed('demo');
  const port = String(await freePort());
  const env = {
    ...image.env,
    API_HOST: '127.0.0.1',
    API_PORT: port,
    API_ISSUER: 'http://localhost:8080/realms/sallyport',
    API_AUDIENCE: 'notes-api',
    API_JWKS_URL: 'http://localhost:8080/unused',
  };

  const server = startInside(image, ['node', 'deploy/demo-api.ts'], env);
  await untilReady(server, async () => server.output().includes('listens'), 30);

  expect((await fetch(`http://127.0.0.1:${port}/v1/notes`)).status).toBe(401);
  expect(await stopInside(server)).toBe(0);
});

function imageNamed(name: string): Image {
  const image = images.get(name);
  if (image === undefined) throw new Error(`No stage "${name}" was built.`);
  return image;
}

async function sampleEnvironment(port: string): Promise<Record<string, string>> {
  const mounted = join(folder, 'mounted');
  await mkdir(mounted);
  await writeFile(join(mounted, 'index.html'), '<!doctype html><title>the app</title>');
  await writeFile(join(mounted, 'client-secret'), 'a client secret of some length\n');
  await writeFile(join(mounted, 'sealing-secret'), '0123456789abcdef0123456789abcdef0123456789abcdef\n');
  return {
    // A container's own network would make this safe; on this machine only loopback is.
    SALLYPORT_HOST: '127.0.0.1',
    SALLYPORT_PORT: port,
    SALLYPORT_ORIGIN: `http://localhost:${port}`,
    SALLYPORT_ISSUER: 'http://127.0.0.1:9/nobody-is-there',
    SALLYPORT_CLIENT_ID: 'sallyport',
    SALLYPORT_CLIENT_SECRET_FILE: join(mounted, 'client-secret'),
    SALLYPORT_SECRET_FILE: join(mounted, 'sealing-secret'),
    SALLYPORT_SPA: mounted,
  };
}

/**
 * Starts a command as the image's user and as PID 1 of a process namespace. Who isn't root can do neither, and starts
 * it as himself, which is unprivileged as well.
 */
function startInside(image: Image, command: readonly string[], env: Record<string, string>): ServerProcess {
  const [program = '', ...args] = asImageUser(image, command);
  return startProcess(program, args, { cwd: join(image.root, image.workingDirectory), env });
}

/** `unshare` waits and passes no signals on: the signal goes to its child, the PID 1 of the namespace. */
async function stopInside(server: ServerProcess): Promise<number | null> {
  const { pid } = server.child;
  if (getuid?.() !== 0) return server.stop();
  return server.stop(Number(await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')));
}

async function succeedsInside(image: Image, command: readonly string[], env: Record<string, string>): Promise<boolean> {
  const [program = '', ...args] = asImageUser(image, command);
  return succeeds(program, args, { cwd: join(image.root, image.workingDirectory), env });
}

function asImageUser({ user = '' }: Image, command: readonly string[]): string[] {
  if (getuid?.() !== 0) return [...command];
  const [uid, gid] = user.split(':');
  return ['unshare', '--pid', '--fork', 'setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...command];
}

async function sizeOf(path: string): Promise<number> {
  const files = await readdir(path, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(
    files.filter((file) => file.isFile()).map(async (file) => (await stat(join(file.parentPath, file.name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
