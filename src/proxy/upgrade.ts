/**
 * WebSocket upgrades (RFC 6455 4): believed only from the own origin, for no preflight guards them; the session's token
 * goes on the upgrade request, and from then on bytes pass both ways as they are.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import type { Config } from '../config.ts';
import { asBffError, BffError, renderProblem, type RenderedProblem } from '../errors.ts';
import type { createAddressReader } from '../inbound.ts';
import { cookieNames } from '../session/cookies.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Refresher } from '../tokens/refresh.ts';
import { requestHeaders, responseHeaders } from './headers.ts';
import { createRouteFinder, upstreamPath } from './target.ts';

interface UpgradeDeps {
  readonly sessions: Sessions;
  readonly refresher: Refresher;
  readonly readAddress: ReturnType<typeof createAddressReader>;
  readonly newRequestId: () => string;
}

/** Where an upgrade goes, and with what. */
interface Destination {
  readonly url: URL;
  readonly authorization: string | undefined;
  readonly cookies: readonly string[];
  readonly timeoutMs: number;
}

export function createUpgrade(config: Config, { sessions, refresher, readAddress, newRequestId }: UpgradeDeps) {
  const names = cookieNames(config.secure);
  const findRoute = createRouteFinder(config.api);
  const origin = new URL(config.origin);
  const devServer = config.spa?.devServer === undefined ? undefined : new URL(config.spa.devServer);

  /** For the server's `upgrade` event. Never throws: a refusal is answered on the socket. */
  return async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    try {
      await tunnel(request, socket, head, await decide(request));
    } catch (error) {
      refuse(socket, renderProblem(asBffError(error), newRequestId()));
    }
  };

  async function decide(request: IncomingMessage): Promise<Destination> {
    const { url = '/', headers } = request;
    if (headers.origin !== config.origin) {
      throw new BffError('request_forbidden', 'WebSockets are opened from the own origin only.');
    }
    if (headers.upgrade?.toLowerCase() !== 'websocket' || request.method !== 'GET') {
      throw new BffError('request_invalid', 'The only upgrade is to WebSocket.');
    }
    const route = findRoute(url);
    if (route === undefined) return toDevServer(url);
    if (!route.websocket) throw new BffError('route_not_found', 'This route takes no WebSockets.');
    const path = upstreamPath(url, route, route.target.pathname.replace(/\/$/, ''));
    const opened = await sessions.open(headers.cookie);
    if (opened.state === 'none') throw new BffError('login_required', 'Sign in first.');
    if (opened.state === 'over') throw new BffError('session_expired', 'The session has ended. Sign in again.');
    const { live, generation } = opened;
    await refresher.ensureFresh(live);
    return {
      url: new URL(path, route.target.origin),
      authorization: `Bearer ${live.session.tokens.accessToken}`,
      cookies: generation === live.session.generation ? [] : sessions.setCookies(live, headers.cookie),
      timeoutMs: route.timeoutSeconds * 1000,
    };
  }

  function toDevServer(url: string): Destination {
    if (devServer === undefined) throw new BffError('route_not_found', 'There is no WebSocket here.');
    return { url: new URL(url, devServer), authorization: undefined, cookies: [], timeoutMs: 10_000 };
  }

  function tunnel(request: IncomingMessage, socket: Duplex, head: Buffer, destination: Destination): Promise<void> {
    const { url, authorization, cookies, timeoutMs } = destination;
    const headers = requestHeaders(request.rawHeaders, request.headers.connection, {
      host: url.host,
      forwardedFor: readAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']).chain,
      forwardedHost: origin.host,
      forwardedProto: origin.protocol.slice(0, -1),
      authorization,
    });
    headers.push('connection', 'Upgrade', 'upgrade', 'websocket');
    const policy = { names, authenticated: authorization !== undefined };
    return new Promise((resolve, reject) => {
      const outgoing = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
        headers,
        timeout: timeoutMs,
        agent: false,
      });
      socket.once('close', () => outgoing.destroy());
      outgoing.once('timeout', () =>
        outgoing.destroy(new BffError('upstream_timeout', 'The API did not answer in time.')),
      );
      outgoing.once('error', (cause) => {
        reject(
          cause instanceof BffError
            ? cause
            : new BffError('upstream_unavailable', 'The API cannot be reached.', { cause }),
        );
      });
      outgoing.once('upgrade', (answer, upstream, upstreamHead) => {
        upstream.setTimeout(0);
        const kept = responseHeaders(answer.headers, policy, cookies);
        kept.push('connection', 'Upgrade', 'upgrade', 'websocket');
        socket.write(responseHead(101, 'Switching Protocols', kept));
        join(socket, head, upstream, upstreamHead);
        resolve();
      });
      // The API's refusal is shown as it was.
      outgoing.once('response', (answer) => {
        const kept = responseHeaders(answer.headers, policy, cookies);
        kept.push('connection', 'close');
        socket.write(responseHead(answer.statusCode ?? 502, answer.statusMessage ?? '', kept));
        answer.pipe(socket);
        resolve();
      });
      outgoing.end();
    });
  }
}

/** Bytes that were read along with the heads go first; when one side ends or breaks, so does the other. */
function join(client: Duplex, clientHead: Buffer, upstream: Duplex, upstreamHead: Buffer): void {
  upstream.on('error', () => client.destroy());
  client.on('error', () => upstream.destroy());
  client.once('close', () => upstream.destroy());
  upstream.once('close', () => client.destroy());
  if (clientHead.length > 0) upstream.write(clientHead);
  if (upstreamHead.length > 0) client.write(upstreamHead);
  client.pipe(upstream).pipe(client);
}

function refuse(socket: Duplex, problem: RenderedProblem): void {
  const headers = [...Object.entries(problem.headers).flat(), 'connection', 'close'];
  socket.end(responseHead(problem.status, 'Refused', headers) + problem.body);
}

function responseHead(status: number, text: string, headers: readonly string[]): string {
  let head = `HTTP/1.1 ${status} ${text}\r\n`;
  for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n`;
}
