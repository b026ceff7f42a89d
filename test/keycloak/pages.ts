/** What a person and the SPA do in a page of the browser, at any Sallyport whose logins are at Keycloak. */
import type { Page } from 'playwright-core';
import { z } from 'zod';

export interface CallAnswer {
  status: number;
  body: Record<string, unknown>;
}

const json = z.record(z.string(), z.unknown());

/** @param parameters of the login, besides the page that it leads to */
export function loginUrl(origin: string, returnTo: string, parameters: Readonly<Record<string, string>> = {}): string {
  return `${origin}/bff/login?${new URLSearchParams({ returnTo, ...parameters }).toString()}`;
}

/** Fills in Keycloak's form, and waits until the browser is back. */
export async function signIn(
  page: Page,
  { origin, returnTo = '/', ...person }: { origin: string; returnTo?: string; username: string; password: string },
): Promise<void> {
  await page.goto(loginUrl(origin, returnTo));
  await page.fill('#username', person.username);
  await page.fill('#password', person.password);
  await page.click('#kc-login');
  await page.waitForURL(`${origin}/**`);
}

/** A fetch of the SPA. */
export async function call(
  page: Page,
  path: string,
  init: { method?: string; body?: string } = {},
): Promise<CallAnswer> {
  const { status, text } = await page.evaluate(
    async ([url, options]) => {
      const response = await fetch(url, { ...options, headers: { 'content-type': 'application/json' } });
      return { status: response.status, text: await response.text() };
    },
    [path, init] as const,
  );
  return { status, body: text === '' ? {} : json.parse(JSON.parse(text)) };
}

/** A call with the cookies of a page, but not from it. */
export async function callWithCookie(url: string, cookie: string): Promise<CallAnswer> {
  const response = await fetch(url, { headers: { cookie, 'sec-fetch-site': 'same-origin' } });
  return { status: response.status, body: json.parse(await response.json()) };
}

export async function readSession(page: Page): Promise<Record<string, unknown>> {
  return (await call(page, '/bff/session')).body;
}
