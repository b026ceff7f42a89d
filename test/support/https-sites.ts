/**
 * Origins under https for a browser: every name in `.test` leads here, where TLS ends and the bytes go on to whatever
 * listens on loopback for that name, as behind a load balancer. What the browser sent is kept, an answer can be held, and
 * the connections can be cut.
 */
import { createServer as createHttpServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { closeNow, listen, startListener, trackSockets, type Listener } from './listener.ts';
import { createGate, type Gate } from './provider-faults.ts';
import { createCertificate } from './tls.ts';

export interface HttpsSites {
  /** For {@link launchChromium}. */
  readonly chromiumArguments: readonly string[];
  /** Firefox comes here by this proxy, which leads to names in `.test` only. */
  readonly proxyPort: number;
  /** Leads a name to a loopback port that speaks plain HTTP. */
  readonly route: (host: string, port: number) => void;
  /** Answers a name with pages: path to HTML, or to the address that it redirects to. */
  readonly pages: (host: string, pages: Readonly<Record<string, string>>) => Promise<void>;
  /** The heads of the requests that a name got, those for `target` only, as they stand on the wire. */
  readonly heads: (host: string, target: string) => string[];
  /** What a name was asked for, in the order in which it was. */
  readonly targets: (host: string) => string[];
  /** Forgets what was sent. */
  readonly forget: () => void;
  /** Holds the answer of the next request for `target` back, when the server has begun it. */
  readonly holdAnswer: (host: string, target: string) => Gate;
  /** Cuts every connection to a name and takes no new ones, until the name is restored. */
  readonly cut: (host: string) => void;
  readonly restore: (host: string) => void;
  readonly close: () => Promise<void>;
}

export async function startHttpsSites(): Promise<HttpsSites> {
  const { key, cert } = await createCertificate(['*.test', '*.example.test']);
  const ports = new Map<string, number>();
  const sent = new Map<string, string>();
  const holds = new Map<string, ReturnType<typeof createGate>>();
  const listeners: Listener[] = [];
  const server = createServer({ key, cert }, serve);
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  const proxy = createHttpServer((_request, response) => response.writeHead(403).end());
  proxy.on('connect', ({ url }, client: Socket, head) => {
    if (!/^[\w.-]+\.test:443$/.test(url ?? '')) {
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    client.on('error', () => client.destroy());
    client.write('HTTP/1.1 200 OK\r\n\r\n');
    if (head.length > 0) client.unshift(head);
    server.emit('connection', client);
  });
  const proxied = trackSockets(proxy);
  const proxyPort = await listen(proxy, 0);
  /** The clients of each name. */
  const clients = new Map<string, Set<TLSSocket>>();
  const cutOff = new Set<string>();

  function serve(client: TLSSocket & { servername?: string | false | null }): void {
    const host = client.servername || '';
    client.on('error', () => client.destroy());
    if (cutOff.has(host)) {
      client.destroy();
      return;
    }
    const ofHost = clients.get(host) ?? new Set();
    clients.set(host, ofHost.add(client));
    client.once('close', () => ofHost.delete(client));
    const upstream = connect({ port: ports.get(host) ?? 0, host: '127.0.0.1', noDelay: true });
    sockets.add(upstream);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    let held: Promise<void> | undefined;
    client.on('data', (bytes: Buffer) => {
      const text = bytes.toString('latin1');
      sent.set(host, (sent.get(host) ?? '') + text);
      const target = /^[A-Z]+ (\S+) HTTP\/1\.1\r\n/.exec(text)?.[1];
      const gate = holds.get(`${host} ${target}`);
      holds.delete(`${host} ${target}`);
      if (gate !== undefined) upstream.prependOnceListener('data', () => void (held = gate.pass()));
      upstream.write(bytes);
    });
    upstream.on('data', (bytes) => passOn(client, bytes));
    upstream.on('end', () => void (held ?? Promise.resolve()).then(() => client.end()));

    function passOn(to: Socket, bytes: Buffer): void {
      if (held === undefined) to.write(bytes);
      else void held.then(() => to.write(bytes));
    }
  }

  return {
    chromiumArguments: [`--host-resolver-rules=MAP *.test:443 127.0.0.1:${port}`, '--ignore-certificate-errors'],
    proxyPort,
    route: (host, to) => void ports.set(host, to),
    async pages(host, pages) {
      const listener = await startListener((request, response) => {
        const page = pages[request.url ?? ''] ?? '<!doctype html><title>Nothing here</title>';
        if (page.startsWith('<')) response.setHeader('content-type', 'text/html; charset=utf-8').end(page);
        else response.writeHead(302, { location: page }).end();
      });
      listeners.push(listener);
      ports.set(host, listener.port);
    },
    heads: (host, target) =>
      (sent.get(host) ?? '').split('\r\n\r\n').filter((head) => head.split(' ', 2)[1] === target),
    targets: (host) =>
      (sent.get(host) ?? '').split('\r\n').flatMap((line) => /^[A-Z]+ (\S+) HTTP\/1\.1$/.exec(line)?.[1] ?? []),
    forget: () => sent.clear(),
    holdAnswer(host, target) {
      const gate = createGate();
      holds.set(`${host} ${target}`, gate);
      return gate;
    },
    cut(host) {
      cutOff.add(host);
      for (const client of clients.get(host) ?? []) client.destroy();
    },
    restore: (host) => void cutOff.delete(host),
    async close() {
      for (const gate of holds.values()) gate.release();
      await closeNow(proxy, proxied);
      await closeNow(server, sockets);
      for (const listener of listeners) await listener.close();
    },
  };
}
