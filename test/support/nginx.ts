/** A real nginx on a free loopback port, in front of Sallyport, that ends with the test. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { accepts } from './listener.ts';

const startTimeoutMs = 10_000;
const temporaryFolders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/**
 * Starts nginx with its own defaults.
 * @param server the content of its one `server {}` block
 */
export async function startNginx(port: number, server: string): Promise<void> {
  const nginx = configureNginx(`listen 127.0.0.1:${port}; ${server}`);
  const running = spawn(nginx.command, nginx.options, { stdio: 'inherit' });
  const ended = once(running, 'exit');
  onTestFinished(async () => {
    running.kill('SIGTERM');
    await ended;
    nginx.remove();
  });
  const failed = ended.then(([code]: unknown[]) => {
    throw new Error(`nginx ended with ${String(code)} before it listened`);
  });
  await Promise.race([listening(port), failed]);
}

/** What nginx finds wrong in the content of a `server {}` block; '' if nothing. */
export function nginxFaults(server: string): string {
  const { command, options, remove } = configureNginx(server);
  const { status, stderr, error } = spawnSync(command, [...options, '-t', '-q'], { encoding: 'utf8' });
  remove();
  if (error !== undefined) throw error;
  return status === 0 ? '' : stderr;
}

function configureNginx(server: string) {
  const prefix = mkdtempSync(join(tmpdir(), 'sallyport-nginx-'));
  const file = join(prefix, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${prefix}/nginx.pid; error_log ${prefix}/error.log;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events {}
    http {
      access_log off;
      ${temporaryFolders.map((name) => `${name}_temp_path ${prefix}/${name};`).join(' ')}
      server { ${server} }
    }`,
  );
  return {
    command: findNginx(),
    options: ['-p', prefix, '-c', file, '-e', join(prefix, 'error.log')],
    remove: () => rmSync(prefix, { recursive: true }),
  };
}

/** The same places that `scripts/install.mjs` looks at; system folders are not on everybody's PATH. */
function findNginx(): string {
  const places = ['/usr/sbin/nginx', '/opt/homebrew/bin/nginx'];
  return process.env['NGINX_PATH'] ?? places.find((path) => existsSync(path)) ?? 'nginx';
}

async function listening(port: number): Promise<void> {
  for (const deadline = performance.now() + startTimeoutMs; performance.now() < deadline; await sleep(20)) {
    if (await accepts(port)) return;
  }
  throw new Error(`nginx did not listen on port ${port}`);
}
