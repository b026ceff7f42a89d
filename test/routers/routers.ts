/**
 * Servers whose routers read paths each in its own way. All serve `/admin` and what is below it with one handler and
 * everything else with another, take every method, and name the handler in `X-Handler`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { run, startProcess, succeeds, untilReady, type ServerProcess } from '../keycloak/processes.ts';
import { freePort, startListener } from '../support/listener.ts';
import { javaLibraries } from '../support/user-cache.ts';

export interface Router {
  readonly name: string;
  readonly port: number;
}

export interface Routers {
  readonly all: readonly Router[];
  readonly close: () => Promise<void>;
}

export const names = ['Express', 'FastAPI', 'Go', 'Spring, path patterns', 'Spring, Ant patterns', 'Jetty'] as const;

const folder = import.meta.dirname;
/** No C compiler and no other Go than the one that is there. */
const goEnv = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local' };

/** Starts them all. */
export async function startRouters(): Promise<Routers> {
  const [fastApi = 0, go = 0, ...java] = await distinctPorts(names.length - 1);
  const scratch = await mkdtemp(join(tmpdir(), 'sallyport-routers-'));
  const own = await startListener(expressApp());
  const started = await Promise.all([
    startPython(fastApi).then((server) => untilAnswering(server, [fastApi])),
    startGo(go, join(scratch, 'router')).then((server) => untilAnswering(server, [go])),
    startJava(java).then((server) => untilAnswering(server, java)),
  ]);
  return {
    all: [own.port, fastApi, go, ...java].map((port, index) => ({ name: names[index] ?? '', port })),
    async close() {
      await Promise.all([own.close(), ...started.map((server) => server.stop())]);
      await rm(scratch, { recursive: true });
    },
  };
}

async function distinctPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

function expressApp(): express.Express {
  const app = express();
  app.all(['/admin', '/admin/*rest'], answerAs('admin'));
  app.all('/{*rest}', answerAs('other'));
  return app;
}

function answerAs(handler: string): express.RequestHandler {
  return (request, response) => {
    response.set('X-Handler', handler).send(`${handler} ${request.method}`);
  };
}

async function startPython(port: number): Promise<ServerProcess> {
  const named = process.env['PYTHON_COMMAND'];
  for (const python of named === undefined ? ['python3', '/usr/bin/python3'] : [named]) {
    if (await succeeds(python, ['-c', 'import fastapi, uvicorn'], { cwd: folder })) {
      return startProcess(python, ['server.py', String(port)], { cwd: folder });
    }
  }
  throw new Error('There is no Python with FastAPI and uvicorn.');
}

async function startGo(port: number, program: string): Promise<ServerProcess> {
  await run(process.env['GO_COMMAND'] ?? 'go', ['build', '-o', program, 'server.go'], { cwd: folder, env: goEnv });
  return startProcess(program, [String(port)], { cwd: folder });
}

async function startJava(ports: readonly number[]): Promise<ServerProcess> {
  const libraries = await javaLibraries('routers', join(folder, 'pom.xml'));
  return startProcess('java', ['-cp', join(libraries, '*'), 'Routers.java', ...ports.map(String)], { cwd: folder });
}

async function untilAnswering(server: ServerProcess, ports: readonly number[]): Promise<ServerProcess> {
  for (const port of ports) await untilReady(server, () => isAnswering(port), 120);
  return server;
}

async function isAnswering(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/`)).ok;
  } catch {
    return false;
  }
}
