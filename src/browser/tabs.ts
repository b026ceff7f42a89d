/**
 * What the tabs of one browser say to each other. Every script of the origin may post here, other apps below other paths
 * included: what is of another base path, or malformed, is left alone.
 */
import type { SessionView } from '../session-view.ts';

/** What may be said. Nothing of it is sure to be there, whoever has posted it. */
export interface Message {
  readonly type?: 'session' | 'signed-in' | 'sign-in-failed';
  readonly session?: SessionView;
  /** Names the session that this is about; the one that is over, if `session` says that nobody is signed in. */
  readonly logoutUrl?: string | undefined;
  /** Why a sign-in failed, and the popup of which page that was. */
  readonly code?: string;
  readonly popup?: string;
}

export function listen(basePath: string, listener?: (message: Message) => void): BroadcastChannel {
  const channel = new BroadcastChannel('sallyport');
  channel.addEventListener('message', ({ data }: MessageEvent<(Message & { basePath: string }) | null>) => {
    if (data?.basePath === basePath) listener?.(data);
  });
  return channel;
}

export function tell(basePath: string, session: SessionView, logoutUrl = idOf(session)): void {
  const channel = listen(basePath);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is another postMessage
  channel.postMessage({ basePath, type: 'session', session, logoutUrl });
  channel.close();
}

/** The address for signing out names the session. */
export function idOf(view: SessionView | undefined): string | undefined {
  return (view as Partial<Extract<SessionView, { authenticated: true }>> | undefined)?.logoutUrl;
}
