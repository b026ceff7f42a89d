/**
 * Sallyport as it is run in production (`sallyport start`), at a provider that is not of this repository, and the people
 * who use it. Both see each other as different sites: the app is on `localhost`, the provider on `127.0.0.1`.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import type { ConfigInput } from '../../src/config/config.ts';
import { startApi, type ApiAnswer, type TestApi } from '../support/api.ts';
import { BrowserClient, submittedForm, type Exchange, type Navigation } from '../support/browser-client.ts';
import { startCommand, type Command } from '../support/command-line.ts';
import { freePort } from '../support/listener.ts';

export type Person = 'alice' | 'bob';

export interface RealProvider {
  readonly issuer: string;
  readonly client: { readonly id: string; readonly secret: string };
  /** What the provider says of an access token. */
  readonly isActive: (token: string) => Promise<boolean>;
  /** The fields of its login form. */
  readonly credentials: (person: Person) => Record<string, string>;
  /** What the session shows of alice. */
  readonly alice: Readonly<Record<string, unknown>>;
  /** It has a revocation endpoint. */
  readonly revokes: boolean;
  /** What it shows for a post-logout address that is not registered. */
  readonly unregisteredPage: RegExp;
}

export interface Deployment {
  readonly origin: string;
  /** Answers 401 to tokens that the provider doesn't call active. */
  readonly api: TestApi;
  readonly command: Command;
  readonly browser: () => BrowserClient;
}

/** Starts Sallyport at `origin` with what has no default, and `config`; both end with the test. */
export async function deploy(
  provider: RealProvider,
  origin: string,
  config: Partial<ConfigInput> = {},
): Promise<Deployment> {
  const api = await startApi();
  onTestFinished(() => api.close());
  api.answer(async ({ token }) => ((await provider.isActive(token ?? '')) ? { status: 200 } : invalidToken));
  const spa = await mkdtemp(join(tmpdir(), 'sallyport-spa-'));
  onTestFinished(() => rm(spa, { recursive: true }));
  await writeFile(join(spa, 'index.html'), '<!doctype html><title>notes</title>');
  const command = await startCommand({
    origin,
    listen: { port: Number(new URL(origin).port), opsPort: await freePort() },
    issuer: provider.issuer,
    client: provider.client,
    secrets: [randomBytes(32).toString('hex')],
    api: [{ path: '/api', target: api.url }],
    spa: { folder: spa },
    // The providers' tokens live for seconds here; by default they would be refreshed with each call.
    refresh: { beforeSeconds: 1 },

    ...config,
  });
  return {
    origin,
    api,
    command,
    browser() {
      const browser = new BrowserClient({ origin });
      onTestFinished(() => browser.close());
      return browser;
    },
  };
}

const invalidToken: ApiAnswer = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
};

/** Signs a person in by the provider's form; fails where no session comes of it. */
export async function signIn(browser: BrowserClient, provider: RealProvider, person: Person): Promise<Navigation> {
  const form = await browser.navigate('/bff/login');
  const page = await submit(browser, form, provider.credentials(person));
  const session = await browser.fetch('/bff/session');
  if (session.at('authenticated') !== true) throw new Error(`not signed in:\n${wayOf(page)}\n${page.text}`);
  return page;
}

/** Fills in the form of a page and submits it. */
export function submit(
  browser: BrowserClient,
  page: Navigation,
  fields: Readonly<Record<string, string>>,
): Promise<Navigation> {
  const form = submittedForm(page.text, page.url);
  if (form === undefined) throw new Error(`no form:\n${wayOf(page)}\n${page.text}`);
  const initiator = new URL(page.url).origin;
  return browser.submitForm(form.url.href, { ...form.form, ...fields }, { initiator });
}

/** Calls the API, and answers the access token that got there. */
export async function tokenOfCall({ api }: Deployment, browser: BrowserClient): Promise<string> {
  const answer = await browser.fetch('/api/notes');
  expect([answer.status, answer.text]).toEqual([200, '']);
  return api.last().token ?? '';
}

/** Waits until the provider no longer takes the token for good. */
export async function untilInactive(provider: RealProvider, token: string): Promise<void> {
  await expect.poll(() => provider.isActive(token), { timeout: 15_000, interval: 100 }).toBe(false);
}

/** Signs out by the app's link. */
export async function signOut(browser: BrowserClient): Promise<Navigation> {
  const logoutUrl = String((await browser.fetch('/bff/session')).at('logoutUrl'));
  return browser.navigate(logoutUrl, { initiator: browser.origin });
}

/** The hops of a navigation, for a message. */
export function wayOf(page: { readonly chain: readonly Exchange[] }): string {
  return page.chain.map((hop) => `${hop.status} ${hop.url.slice(0, 200)}`).join('\n');
}

const introspection = z.looseObject({ active: z.boolean() });

/** Token introspection (RFC 7662), with the client's authentication where the endpoint demands it. */
export async function introspect(url: string, token: string, client?: RealProvider['client']): Promise<boolean> {
  const basic = client && Buffer.from(`${client.id}:${client.secret}`).toString('base64');
  const response = await fetch(url, {
    method: 'POST',
    headers: basic === undefined ? {} : { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ token }),
  });
  // Dex answers 401 for a token that has expired.
  return response.ok && introspection.parse(await response.json()).active;
}

/** Whether a server answers with success. */
export async function isAnswering(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
