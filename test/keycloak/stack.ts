/**
 * docker-compose.yml on this machine, without an engine: each service's own command, environment, secrets and health
 * check are run as a process, with the network's host names and the containers' paths mapped to loopback ports and
 * temporary folders. Nothing else is changed, so that what works here is what the file says.
 */
import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/listener.ts';
import { projectFolder, readComposeFile, serviceOf, unescapeDollars } from './compose-file.ts';
import type { ComposeFile } from './compose-file.ts';
import { readHealthcheck } from './dockerfile.ts';
import { buildEnvironment, copyKeycloak } from './keycloak-distribution.ts';
import { startProcess, succeeds, untilReady } from './processes.ts';
import type { ServerProcess } from './processes.ts';

export type ServiceName = 'sallyport' | 'keycloak' | 'valkey' | 'api';

export interface Stack {
  /** Where the browser finds Sallyport: `http://localhost:PORT`. */
  readonly origin: string;
  /** Where the browser finds Keycloak. */
  readonly keycloakUrl: string;
  readonly demoPassword: string;
  readonly adminPassword: string;
  /** What a service has written to its output so far. */
  output(name: ServiceName): string;
  /** Starts one service and waits until its own health check passes. */
  start(name: ServiceName): Promise<void>;
  /** Stops one service as `docker compose stop` would. */
  stop(name: ServiceName): Promise<void>;
  /** Stops everything and deletes every trace. */
  close(): Promise<void>;
}

export interface StackOptions {
  /** A folder of built files, for `/srv/spa`. */
  spaFolder: string;
  /** Variables that only a test needs, by service. */
  extraEnvironment?: Partial<Record<ServiceName, Record<string, string>>>;
}

/** Redis does where Valkey isn't installed: the file uses nothing in which they differ. */
const redisServer = process.env['REDIS_SERVER_PATH'] ?? 'redis-server';

type Mapping = ReadonlyMap<string, string>;

/** Prepares the stack; nothing runs until it is started. */
export async function createStack(options: StackOptions): Promise<Stack> {
  const file = await readComposeFile();
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-stack-'));
  const secrets = await writeSecrets(file, join(folder, 'secrets'));
  const keycloakHome = await copyKeycloak();
  await cp(join(projectFolder, 'deploy/keycloak'), join(keycloakHome, 'data/import'), { recursive: true });
  const ports = await choosePorts();
  const mapping = mappingOf({ ports, folder, keycloakHome, spaFolder: options.spaFolder });
  const sources = { file, mapping, imageHealthcheck: await readHealthcheck(projectFolder) };
  const running = new Map<ServiceName, ServerProcess>();

  async function start(name: ServiceName): Promise<void> {
    const service = commandOf(sources, name);
    const machine = machineSettings(ports)[name];
    const env = { ...service.env, ...machine.env, ...options.extraEnvironment?.[name] };
    const [command = '', ...args] = service.command;
    const server = startProcess(command, [...machine.serverArguments, ...args], { cwd: projectFolder, env });
    running.set(name, server);
    const [probe = '', ...probeArgs] = service.probe;
    const isReady = () => succeeds(probe, [...machine.probeArguments, ...probeArgs], { cwd: projectFolder, env });
    await untilReady(server, isReady, 120);
  }

  async function stop(name: ServiceName): Promise<void> {
    await running.get(name)?.stop();
    running.delete(name);
  }

  return {
    origin: `http://localhost:${ports.sallyport}`,
    keycloakUrl: `http://localhost:${ports.keycloak}`,
    demoPassword: secrets.get('demo-password') ?? '',
    adminPassword: secrets.get('admin-password') ?? '',
    output: (name) => running.get(name)?.output() ?? '',
    start,
    stop,
    close: async () => {
      for (const name of ['sallyport', 'api', 'valkey', 'keycloak'] as const) await stop(name);
      await rm(folder, { recursive: true });
      await rm(join(keycloakHome, '..'), { recursive: true });
    },
  };
}

/** What the lines at the head of docker-compose.yml do with `sallyport keygen`. */
async function writeSecrets(file: ComposeFile, folder: string): Promise<Map<string, string>> {
  await mkdir(folder);
  const secrets = new Map<string, string>();
  for (const name of Object.keys(file.secrets)) {
    const secret = randomBytes(32).toString('base64url');
    await writeFile(join(folder, name), `${secret}\n`);
    secrets.set(name, secret);
  }
  return secrets;
}

type Ports = Record<ServiceName | 'ops' | 'management', string>;

async function choosePorts(): Promise<Ports> {
  return {
    sallyport: await choosePort(),
    ops: await choosePort(),
    keycloak: await choosePort(),
    management: await choosePort(),
    valkey: await choosePort(),
    api: await choosePort(),
  };
}

async function choosePort(): Promise<string> {
  return String(await freePort());
}

interface Places {
  ports: Ports;
  folder: string;
  keycloakHome: string;
  spaFolder: string;
}

/** Everything that is the network's or a container's own, and what it is here. */
function mappingOf({ ports, folder, keycloakHome, spaFolder }: Places): Mapping {
  return new Map([
    ['0.0.0.0', '127.0.0.1'],
    ['localhost:3000', `localhost:${ports.sallyport}`],
    ['//sallyport:3000', `//127.0.0.1:${ports.sallyport}`],
    ['localhost:8080', `localhost:${ports.keycloak}`],
    ['//keycloak:8080', `//127.0.0.1:${ports.keycloak}`],
    ['127.0.0.1/9000', `127.0.0.1/${ports.management}`],
    ['//valkey:6379', `//127.0.0.1:${ports.valkey}`],
    ['//api:9100', `//127.0.0.1:${ports.api}`],
    ['127.0.0.1:9100', `127.0.0.1:${ports.api}`],
    ['9100', ports.api],
    ['/run/secrets/', `${folder}/secrets/`],
    ['/opt/keycloak/', `${keycloakHome}/`],
    ['/srv/spa', spaFolder],
    ['valkey-server', redisServer],
    ['valkey-cli', redisServer.replace(/-server$/, '-cli')],
  ]);
}

function mapText(text: string, mapping: Mapping): string {
  const names = [...mapping.keys()].map((name) => name.replaceAll('.', String.raw`\.`));
  return unescapeDollars(text).replaceAll(new RegExp(names.join('|'), 'g'), (name) => mapping.get(name) ?? name);
}

interface Sources {
  file: ComposeFile;
  /** The Dockerfile's. */
  imageHealthcheck: string[];
  mapping: Mapping;
}

interface ServiceCommand {
  command: string[];
  env: Record<string, string>;
  probe: string[];
}

function commandOf({ file, imageHealthcheck, mapping }: Sources, name: ServiceName): ServiceCommand {
  const service = serviceOf(file, name);
  const map = (text: string) => mapText(text, mapping);
  // The image's own command and health check, run on the source; dockerfile.test.ts runs them on what is built.
  const ownCommand = name === 'sallyport' ? ['node', 'src/cli/main.ts', 'start'] : [];
  const [kind, ...probe] = service.healthcheck?.test ?? ['CMD', ...imageHealthcheck];
  if (kind !== 'CMD') throw new Error(`The health check of "${name}" is not in the exec form.`);
  return {
    command: [...ownCommand, ...(service.entrypoint ?? []), ...(service.command ?? [])].map(map),
    env: Object.fromEntries(Object.entries(service.environment ?? {}).map(([key, value]) => [key, map(value)])),
    probe: probe.map(map),
  };
}

interface MachineSettings {
  env: Record<string, string>;
  /** Put before the service's own arguments. */
  serverArguments: string[];
  probeArguments: string[];
}

/** Containers have ports of their own; processes on one machine are told theirs. */
function machineSettings(ports: Ports): Record<ServiceName, MachineSettings> {
  const nothing = { env: {}, serverArguments: [], probeArguments: [] };
  const keycloak = {
    ...buildEnvironment,
    KC_HTTP_HOST: '127.0.0.1',
    KC_HTTP_PORT: ports.keycloak,
    KC_HTTP_MANAGEMENT_PORT: ports.management,
    // Compiling less eagerly halves the start.
    JAVA_OPTS_APPEND: '-XX:TieredStopAtLevel=1',
  };
  return {
    sallyport: { ...nothing, env: { SALLYPORT_OPS_PORT: ports.ops } },
    keycloak: { ...nothing, env: keycloak },
    valkey: {
      env: {},
      serverArguments: ['--bind', '127.0.0.1', '--port', ports.valkey],
      probeArguments: ['-p', ports.valkey],
    },
    api: nothing,
  };
}
