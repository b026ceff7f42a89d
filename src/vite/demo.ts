/** The demo's OpenID provider and its API, from `spa-example/demo/`: in the package compiled, in the repository as it is. */
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import type { ConfigInput } from '../config/config.ts';
import { codeOf } from '../http/errors.ts';

/** What the demo has of a configuration. */
export type DemoConfig = Pick<ConfigInput, 'issuer' | 'client' | 'scope' | 'api'>;

export interface RunningDemo {
  readonly config: DemoConfig;
  readonly close: () => Promise<void>;
}

interface Listening {
  readonly close: () => Promise<void>;
}

type Start<Options, Started> = (options: Options & { host: string; port: number }) => Promise<Started & Listening>;

interface ProviderModule {
  readonly startDemoProvider: Start<
    Readonly<
      Record<'clientId' | 'clientSecret' | 'apiAudience', string> &
        Record<'redirectUris' | 'postLogoutRedirectUris', string[]>
    >,
    { readonly issuer: string }
  >;
}

interface ApiModule {
  readonly startDemoApi: Start<{ readonly issuer: string; readonly audience: string }, { readonly url: string }>;
}

const host = '127.0.0.1';
const ports = { provider: 9000, api: 9100 };
const audience = 'urn:example:notes';
const client = { id: 'spa-example', secret: randomBytes(32).toString('base64url') };
const scope = 'openid profile email offline_access notes';

const extension = extname(import.meta.url);
const folder = new URL(extension === '.ts' ? '../../spa-example/demo/' : '../spa-example/demo/', import.meta.url);

/** What the demo will have of a configuration, as far as it is known before it runs. */
export const expectedDemo: DemoConfig = { issuer: `http://${host}:${ports.provider}`, client, scope };

/** @throws {Error} if the package that the provider is made of is not installed */
export function requireProviderPackage(): void {
  try {
    createRequire(folder).resolve('oidc-provider');
  } catch (cause) {
    const reason = 'sallyport({ demo: true }) runs the package oidc-provider, which is not installed';
    throw new Error(`${reason}: npm install --save-dev oidc-provider`, { cause });
  }
}

/**
 * @param app the app's origin and the base path of Sallyport's endpoints
 * @param withApi whether the demo's API is wanted as well
 */
export async function startDemo(app: { origin: string; basePath: string }, withApi: boolean): Promise<RunningDemo> {
  const { startDemoProvider } = (await importDemo('provider')) as ProviderModule;
  const provider = await onPortOrAnother(ports.provider, (port) =>
    startDemoProvider({
      host,
      port,
      clientId: client.id,
      clientSecret: client.secret,
      redirectUris: [`${app.origin}${app.basePath}/callback`],
      postLogoutRedirectUris: [`${app.origin}/`],
      apiAudience: audience,
    }),
  );
  // A proxy of the environment cannot reach this machine's loopback. The spelling that counts where both are set.
  process.env['no_proxy'] = [process.env['no_proxy'] ?? process.env['NO_PROXY'] ?? '', host].join(',');
  const { issuer } = provider;
  if (!withApi) return { config: { issuer, client, scope }, close: () => provider.close() };
  try {
    const { startDemoApi } = (await importDemo('api')) as ApiModule;
    const api = await onPortOrAnother(ports.api, (port) => startDemoApi({ host, port, issuer, audience }));
    const close = async () => void (await Promise.all([provider.close(), api.close()]));
    return { config: { issuer, client, scope, api: [{ path: '/api', target: api.url }] }, close };
  } catch (error) {
    await provider.close();
    throw error;
  }
}

function importDemo(name: 'provider' | 'api'): Promise<unknown> {
  return import(new URL(name + extension, folder).href);
}

/** Starts on the usual port, or on a free one where another program has that. */
async function onPortOrAnother<T>(port: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(port);
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    return start(0);
  }
}
