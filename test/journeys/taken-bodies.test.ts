/**
 * Sallyport behind a body parser: the body of a call was read before Sallyport got it. Waiting for it would be for ever, so
 * the call fails at once, in words that name the cause; calls without a body work as ever.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import express from 'express';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Bff } from '../../src/bff.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { readBody, startListener } from '../support/listener.ts';
import { mountBff } from '../support/mounted.ts';
import { startSignedIn, within, type SignedInWorld, type WorldOptions } from '../support/world.ts';

/** A world whose signed-in person reaches it through `serverOf`'s server. */
async function mount(serverOf: (bff: Bff) => Server, options: WorldOptions = {}): Promise<SignedInWorld> {
  const world = await startSignedIn(options);
  const { port } = await mountBff(world.config, serverOf);
  world.browser.routeTo(port);
  return world;
}

function behindExpress(parser: express.RequestHandler): (bff: Bff) => Server {
  return (bff) => {
    const app = express();
    app.use(parser);
    app.use((request, response) => bff.listener(request, response));
    return createServer(app);
  };
}

/** `attach` on a server whose requests went through the parser before. */
function attachedBehind(parser: express.RequestHandler): (bff: Bff) => Server {
  return (bff) => {
    const server = createServer();
    bff.attach(server);
    const [own] = server.listeners('request') as [(request: IncomingMessage, response: ServerResponse) => void];
    server.removeAllListeners('request');
    const app = express();
    app.use(parser);
    app.use((request, response) => own(request, response));
    server.on('request', app);
    return server;
  };
}

function behindHono(middleware: MiddlewareHandler): (bff: Bff) => Server {
  return (bff) => {
    const outer = new Hono();
    outer.use(middleware);
    outer.route('/', bff.app);
    return createAdaptorServer(outer) as Server;
  };
}

/** Does something with the request of a call that has a body, then passes it on. */
function behindListener(work: (request: IncomingMessage) => unknown): (bff: Bff) => Server {
  return behindExpress((request, _response, next) => {
    work(request);
    next();
  });
}

function behindMiddleware(work: (c: Context) => unknown): (bff: Bff) => Server {
  return behindHono(async (c, next) => {
    if (c.req.method === 'POST') await work(c);
    await next();
  });
}

const readers: ReadonlyArray<readonly [string, (bff: Bff) => Server]> = [
  ['express.json() before the listener', behindExpress(express.json())],
  ['express.json() before attach', attachedBehind(express.json())],
  ['express.raw() for everything', behindExpress(express.raw({ type: () => true }))],
  ['a parser that is still reading', behindListener((request) => request.on('data', () => undefined))],
  ['a parser that has paused', behindListener((request) => request.pause())],
  ['a middleware that calls json()', behindMiddleware((c) => c.req.json())],
  ['a middleware that reads the raw request', behindMiddleware((c) => c.req.raw.text())],
  ['a middleware that clones it', behindMiddleware((c) => c.req.raw.clone().text())],
  ['a middleware that begins to read', behindMiddleware((c) => c.req.raw.body?.getReader().read())],
  ['a middleware that looks at the body', behindMiddleware((c) => c.req.raw.body)],
  ['a middleware that limits bodies', behindHono(bodyLimit({ maxSize: 10_000_000 }))],
];

function post(browser: BrowserClient, size: number) {
  const body = { text: 'x'.repeat(size) };
  return within(5, browser.fetch('/api/notes', { method: 'POST', body }), 'no answer');
}

describe.each(readers)('behind %s', (_, serverOf) => {
  test('a call with a body fails at once and says why; one without works', async () => {
    const { api, browser } = await mount(serverOf, {
      config: (base) => ({ ...base, upstream: { replayBytes: 20_000 } }),
    });
    const calls = api.requests.length;
    // Small ones are buffered, large ones are streamed.
    for (const size of [10, 60_000]) {
      const answer = await post(browser, size);
      expect([answer.status, answer.at('code')]).toEqual([500, 'internal_error']);
      expect(answer.at('detail')).toMatch(
        /was read before Sallyport got the request: by a body parser such as express/,
      );
    }
    expect(api.requests).toHaveLength(calls);
    expect((await browser.fetch('/api/me')).at('sub')).toBe('alice');
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });
});

test('parsers for other paths and other types are in nobody’s way', async () => {
  const { api, browser } = await mount((bff) => {
    const app = express();
    app.use('/own', express.json());
    app.use(express.urlencoded());
    app.use((request, response) => bff.listener(request, response));
    return createServer(app);
  });
  expect((await post(browser, 60_000)).status).toBe(200);
  expect(JSON.parse(api.last().body.toString())).toEqual({ text: 'x'.repeat(60_000) });
});

test('a dev server’s calls fail in the same way', async () => {
  const devServer = await startListener((request, response) => {
    void readBody(request).then((body) => response.end(body));
  });
  onTestFinished(() => devServer.close());
  const { browser } = await mount(behindExpress(express.json()), {
    config: (base) => ({ ...base, spa: { devServer: `http://127.0.0.1:${devServer.port}` } }),
  });
  const answer = await within(5, browser.fetch('/graphql', { method: 'POST', body: { a: 1 } }), 'no answer');
  expect([answer.status, answer.at('code')]).toEqual([500, 'internal_error']);
});

test('the provider’s form at the callback is named, too', async () => {
  const { browser, origin } = await mount(behindExpress(express.urlencoded()), {
    config: (base) => ({ ...base, client: { ...base.client, responseMode: 'form_post' } }),
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded', origin };
  const call = browser.fetch('/bff/callback', { method: 'POST', headers, body: 'code=x&state=y' });
  const answer = await within(5, call, 'no answer');
  expect([answer.status, answer.at('code')]).toEqual([500, 'internal_error']);
  expect(answer.at('detail')).toContain('express.json()');
});

test('the provider’s logout token is not refused for it: the fault is not the provider’s', async () => {
  const { browser } = await mount(behindExpress(express.urlencoded()));
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const call = browser.fetch('/bff/backchannel-logout', { method: 'POST', headers, body: 'logout_token=x' });
  const answer = await within(5, call, 'no answer');
  expect([answer.status, answer.at('code')]).toEqual([500, 'internal_error']);
});
