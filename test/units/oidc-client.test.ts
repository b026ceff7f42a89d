/** openid-client's configurations, which are used again: by one call at a time, and for what the provider says now. */
import * as client from 'openid-client';
import { expect, test } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { createEvents } from '../../src/events.ts';
import { createClient } from '../../src/oidc/client.ts';
import { replayableTokenFetch } from '../../src/oidc/token-response.ts';

const keys = { keys: [] };

function setUp() {
  const config = resolveConfig({
    origin: 'http://localhost:3000',
    issuer: 'https://login.example.com',
    client: { id: 'app', secret: 'not much of one' },
    secrets: ['a sealing secret of more than 32 characters'],
  });
  let metadata = metadataWith('/token');
  const { configured } = createClient(config, {
    fetch,
    addresses: { plainHttp: false } as Parameters<typeof createClient>[1]['addresses'],
    discovery: { fetchMetadata: async () => metadata } as Parameters<typeof createClient>[1]['discovery'],
    events: createEvents(),
  });
  return { configured, move: (path: string) => (metadata = metadataWith(path)) };
}

function metadataWith(path: string): client.ServerMetadata {
  return { issuer: 'https://login.example.com', token_endpoint: `https://login.example.com${path}` };
}

const recorder = replayableTokenFetch(async () => Response.json({}));
const itself = async (configuration: client.Configuration) => configuration;

test('a configuration is used by one call at a time, and by the next one afterwards', async () => {
  const { configured } = setUp();
  const idle = await configured({ keys }, itself);
  const gate = Promise.withResolvers<void>();
  const first = configured({ keys }, async (configuration) => {
    await gate.promise;
    return configuration;
  });
  const second = await configured({ keys }, itself);
  gate.resolve();
  expect(await first).toBe(idle);
  expect(second).not.toBe(idle);
  expect([idle, second]).toContain(await configured({ keys }, itself));
});

test("a call's own fetch, which remembers tokens, and its time limit end with it, also when it fails", async () => {
  const { configured } = setUp();
  const seen: client.Configuration[] = [];
  const failing = configured({ keys, recorder, timeoutSeconds: 1.5 }, async (configuration) => {
    expect(configuration[client.customFetch]).toBe(recorder.fetch);
    expect(configuration.timeout).toBe(1.5);
    seen.push(configuration);
    throw new Error('refused');
  });
  await expect(failing).rejects.toThrow('refused');
  expect(seen[0]?.[client.customFetch]).not.toBe(recorder.fetch);
  const next = await configured({ keys }, async (configuration) => [configuration, configuration.timeout]);
  expect(next).toEqual([seen[0], 10]);
});

test('other keys, and metadata that has changed, make another configuration', async () => {
  const { configured, move } = setUp();
  const first = await configured({ keys }, itself);
  expect(await configured({ keys: { keys: [] } }, itself)).not.toBe(first);
  expect(await configured({ keys }, itself)).toBe(first);
  move('/moved/token');
  const moved = await configured({ keys }, itself);
  expect(moved.serverMetadata().token_endpoint).toBe('https://login.example.com/moved/token');
});
