/**
 * The WebSockets that are open. When a session ends or the server stops, both sides get a Close frame (RFC 6455 5.5.1).
 * Opening a socket restarts the idle timeout as a call does; frames don't, because an app's heartbeats would keep the
 * session of an abandoned tab from ever ending.
 */
import type { Duplex } from 'node:stream';
import type { SessionEntry } from '../../session/sessions.ts';
import { SessionBound, type SessionBoundList } from '../../session/session-bound.ts';
import { Tunnel, type CloseReason } from './tunnel.ts';

/** From the private range (RFC 6455 7.4.2), because an API may close with 1008 too: this code means 'sign in again'. */
const sessionEnded: CloseReason = { code: 4401, reason: 'session ended' };
/**
 * 'Service Restart' of IANA's registry: a client may connect again, after a delay of its own choosing. To the API, whose
 * client Sallyport is, the client goes away, as with a tab that is closed.
 */
const restarting: CloseReason = { code: 1012, reason: 'service restart' };
const clientGoesAway: CloseReason = { code: 1001, reason: 'going away' };

class OpenSocket extends SessionBound {
  readonly tunnel: Tunnel;
  readonly endsWhenIdle = true;

  constructor(session: SessionEntry | undefined, tunnel: Tunnel) {
    super(session);
    this.tunnel = tunnel;
  }

  endWithSession(): void {
    this.tunnel.close(sessionEnded);
  }

  override endWithServer(): void {
    this.tunnel.close(restarting, clientGoesAway);
  }
}

export type OpenSockets = ReturnType<typeof createOpenSockets>;

export function createOpenSockets(bound: SessionBoundList) {
  const open = new Set<OpenSocket>();

  /** Joins a client and an upstream. */
  function add(client: Duplex, upstream: Duplex, session: SessionEntry | undefined): void {
    const tunnel = new Tunnel(client, upstream, () => {
      open.delete(socket);
      bound.remove(socket);
    });
    const socket = new OpenSocket(session, tunnel);
    open.add(socket);
    bound.add(socket);
  }

  return {
    add,
    /** Destroys the connections that are still open. */
    destroy: () => {
      for (const { tunnel } of open) tunnel.destroy();
    },
  };
}
