/**
 * Starts the proxies that are compared, signs in where there is a session, and hands out their request headers.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { fetchHeaders, signIn } from './client.ts';
import { freePort, launch, type Place, type Running, workFolder } from './processes.ts';
import { startNginx } from './upstream/nginx.ts';

/** In the order of the table. */
export const contenderNames = ['sallyport', 'floor', 'bare', 'nginx', 'express'] as const;
export type ContenderName = (typeof contenderNames)[number];

/** A proxy that runs, with the cookie of a signed-in session where it has one. */
export interface Contender {
  readonly name: ContenderName;
  readonly process: Running;
  readonly origin: string;
  /** The headers of a browser's call with this contender's session. */
  readonly headers: Record<string, string>;
}

/** What stands behind and beside every contender. */
export interface Surroundings {
  readonly upstream: Running;
  readonly streams: Running;
  readonly provider: Running;
}

const here = import.meta.dirname;
const root = join(here, '..', '..');
const profileFolder = process.env['BENCH_CPU_PROFILE'];
const node: [string, ...string[]] =
  profileFolder === undefined
    ? [process.execPath]
    : [process.execPath, '--cpu-prof', `--cpu-prof-dir=${profileFolder}`];

/** Starts a contender, signed in. */
export async function startContender(name: ContenderName, around: Surroundings): Promise<Contender> {
  const running = await starters[name](around);
  const origin = `http://127.0.0.1:${running.port}`;
  const cookie = await cookies[name](origin);
  return { name, process: running, origin, headers: fetchHeaders(origin, cookie) };
}

/** How a Sallyport process differs from the one that is compared with other proxies. */
export interface SallyportOptions {
  /** Of its log; two processes at a time must not share one. */
  readonly name?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** The routes, in place of those in a variable. */
  readonly api?: readonly object[];
  /** The core of its own, unless said otherwise. */
  readonly place?: Place;
}

/** Seals the cookies of all Sallyport processes here, so that the benchmark can make cookies itself. */
export const sealingSecret = 'bench-sealing-secret-that-is-long-enough-0123456789';

/** Starts Sallyport as shipped, configured by environment variables, its log going to a file. */
export async function startSallyport(around: Surroundings, options: SallyportOptions = {}): Promise<Running> {
  const spa = join(workFolder, 'spa');
  mkdirSync(spa, { recursive: true });
  writeFileSync(join(spa, 'index.html'), '<!doctype html><title>SPA</title><div id="root"></div>');
  const port = await freePort();
  const name = options.name ?? 'sallyport';
  const { api } = options;
  const file = join(workFolder, `${name.replaceAll(' ', '-')}.json`);
  if (api !== undefined) writeFileSync(file, JSON.stringify({ api }));
  return launch({
    name,
    place: options.place ?? 'proxy',
    port,
    command: [...node, join(root, 'src', 'cli', 'main.ts'), 'start', ...(api === undefined ? [] : ['--config', file])],
    environment: {
      SALLYPORT_ORIGIN: `http://127.0.0.1:${port}`,
      SALLYPORT_PORT: String(port),
      SALLYPORT_ISSUER: `http://127.0.0.1:${around.provider.port}`,
      SALLYPORT_CLIENT_ID: 'sallyport-bench',
      SALLYPORT_CLIENT_SECRET: 'bench-client-secret-of-decent-length',
      SALLYPORT_SECRET: sealingSecret,
      // An empty variable counts as unset.
      SALLYPORT_API:
        api === undefined
          ? `/api=http://127.0.0.1:${around.upstream.port}/v1 /stream=http://127.0.0.1:${around.streams.port}/`
          : '',
      SALLYPORT_SPA: spa,
      SALLYPORT_LOG: 'info',
      ...options.environment,
    },
  });
}

/** Empties the log of what was started under `name`, which grows by some MB a second under load. */
export function emptyLog({ name }: { readonly name: string }): void {
  const file = join(workFolder, `${name}.log`);
  if (existsSync(file)) truncateSync(file);
}

/** An access token of the size that the provider issues, for the contenders that sign nobody in. */
const standInToken = `eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.${'x'.repeat(1020)}.${'y'.repeat(342)}`;
/** A cookie of the size that Sallyport sets, which the proxies without a session drop. */
const standInCookie = `session=${'z'.repeat(2500)}`;

const starters: Record<ContenderName, (around: Surroundings) => Promise<Running>> = {
  sallyport: (around) => startSallyport(around),
  floor: (around) => startPlain('floor', around),
  bare: (around) => startPlain('bare', around),
  nginx: startNginxProxy,
  express: startExpress,
};

const cookies: Record<ContenderName, (origin: string) => Promise<string>> = {
  sallyport: (origin) => signIn(origin, '/bff/login'),
  floor: async () => standInCookie,
  bare: async () => standInCookie,
  nginx: async () => standInCookie,
  express: (origin) => signIn(origin, '/login'),
};

function startPlain(name: 'floor' | 'bare', { upstream, streams }: Surroundings): Promise<Running> {
  return launch({
    name,
    place: 'proxy',
    command: [...node, join(here, 'contenders', `${name}.ts`)],
    environment: {
      TOKEN: standInToken,
      API: `http://127.0.0.1:${upstream.port}`,
      STREAM: `http://127.0.0.1:${streams.port}`,
    },
  });
}

async function startNginxProxy({ upstream, streams }: Surroundings): Promise<Running> {
  const port = await freePort();
  const keepAlive = 'keepalive 64; keepalive_requests 100000000;';
  const proxy =
    'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Cookie ""; proxy_set_header Host $host;' +
    `proxy_set_header Authorization "Bearer ${standInToken}"; proxy_set_header X-Forwarded-For $remote_addr;` +
    'proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;';
  return startNginx(
    'nginx',
    'proxy',
    port,
    `
  upstream api { server 127.0.0.1:${upstream.port}; ${keepAlive} }
  upstream stream { server 127.0.0.1:${streams.port}; ${keepAlive} }
  server {
    listen 127.0.0.1:${port} backlog=4096; client_max_body_size 0;
    location /api/ { ${proxy} proxy_pass http://api/v1/; }
    location /stream/ { ${proxy} proxy_pass http://stream/; }
  }`,
  );
}

async function startExpress({ upstream, provider }: Surroundings): Promise<Running> {
  const folder = join(here, 'contenders', 'express');
  if (!existsSync(join(folder, 'node_modules', 'express-openid-connect'))) {
    const installed = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: folder,
      encoding: 'utf8',
    });
    if (installed.status !== 0) throw new Error(`npm ci in ${folder} failed:\n${installed.stderr}`);
  }
  const port = await freePort();
  return launch({
    name: 'express',
    place: 'proxy',
    port,
    command: [process.execPath, join(folder, 'server.mjs')],
    environment: {
      PORT: String(port),
      ISSUER: `http://127.0.0.1:${provider.port}`,
      API: `http://127.0.0.1:${upstream.port}`,
    },
  });
}
