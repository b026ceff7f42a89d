/**
 * The journeys of a person at Dex with sessions of its own (`DEX_SESSIONS_ENABLED`), which bring an end-session endpoint
 * and single sign-on.
 */
import { afterAll, beforeAll } from 'vitest';
import { freePort } from '../support/listener.ts';
import { testEndSession, testSignInAndRefresh } from './common-journeys.ts';
import { startDex, type Dex } from './dex.ts';

let dex: Dex;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  dex = await startDex({ origin, sessions: true, postLogoutRedirectUris: [`${origin}/`] });
});

afterAll(() => dex?.close());

testSignInAndRefresh(() => ({ provider: dex, origin }));
testEndSession(() => ({ provider: dex, origin }));
