/**
 * The WebSockets that are open. One lives no longer than its session: when that ends, by sign-out, by its lifetime or by
 * its idle timeout, both sides get a Close frame. Opening a socket counts against the idle timeout as a call does;
 * frames don't, for an app's heartbeats would keep the session of an abandoned tab alive for ever.
 */
import type { Duplex } from 'node:stream';
import type { Events } from '../events.ts';
import type { LiveSession, Sessions } from '../session/sessions.ts';
import { nowSeconds } from '../token-set.ts';
import { Tunnel, type Goodbye } from './tunnel.ts';

/** A code of the app's own range (RFC 6455 7.4.2), for an API may close with 1008 too: this one says 'sign in again'. */
const sessionEnded: Goodbye = { code: 4401, reason: 'session ended' };
const goingAway: Goodbye = { code: 1001, reason: 'server is stopping' };

/** How soon the end of a session's time reaches its sockets. */
const sweepMs = 1000;

interface OpenSocket {
  readonly tunnel: Tunnel;
  /** The session that it lives by; the SPA's dev server asks for none. */
  live: LiveSession | undefined;
}

export type OpenSockets = ReturnType<typeof createOpenSockets>;

export function createOpenSockets({ sessions, events }: { readonly sessions: Sessions; readonly events: Events }) {
  const open = new Set<OpenSocket>();
  let sweeper: NodeJS.Timeout | undefined;
  let stopping = false;

  events.subscribe((event) => {
    if (event.type !== 'session.ended') return;
    for (const { tunnel, live } of open) if (live?.label === event.session) tunnel.close(sessionEnded);
  });

  /** Joins a client and an upstream. */
  function add(client: Duplex, upstream: Duplex, live: LiveSession | undefined): void {
    const tunnel = new Tunnel(client, upstream, () => {
      open.delete(socket);
      if (open.size > 0) return;
      clearInterval(sweeper);
      sweeper = undefined;
    });
    const socket: OpenSocket = { tunnel, live };
    open.add(socket);
    sweeper ??= setInterval(sweep, sweepMs).unref();
    if (stopping) tunnel.close(goingAway);
  }

  /** One timer for all sockets; a session's end may be further away than a timer can be set, and may move. */
  function sweep(): void {
    const now = nowSeconds();
    for (const socket of open) {
      if (socket.live === undefined) continue;
      // The cache may have dropped the session and opened it anew for a later call.
      socket.live = sessions.newest(socket.live);
      if (isOver(socket.live, now)) socket.tunnel.close(sessionEnded);
    }
  }

  function isOver(live: LiveSession, now: number): boolean {
    return live.ended || now >= sessions.endsAt(live) || now >= (sessions.idleEndsAt(live) ?? Infinity);
  }

  return {
    add,
    /** Tells all sockets, and those still to come, that the server is going away. */
    drain: () => {
      stopping = true;
      for (const { tunnel } of open) tunnel.close(goingAway);
    },
    /** Cuts what is still open. */
    destroy: () => {
      for (const { tunnel } of open) tunnel.destroy();
    },
  };
}
