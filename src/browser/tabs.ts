/**
 * What the tabs of one browser say to each other. Every script of the origin may post here, other apps below other paths
 * included: what is of another base path, or malformed, is left alone.
 */
import type { SessionView, SignedOutReason } from '../session-view.ts';

export type Message =
  | { readonly type: 'session'; readonly session: SessionView }
  | { readonly type: 'signed-out'; readonly reason: SignedOutReason }
  | { readonly type: 'signed-in' }
  | { readonly type: 'sign-in-failed'; readonly code: string };

export const hasChannel = () => (globalThis as Partial<typeof globalThis>).BroadcastChannel;

/** Undefined in a browser without channels. */
export function listen(basePath: string, listener?: (message: Message) => void): BroadcastChannel | undefined {
  const channel = hasChannel() ? new BroadcastChannel('sallyport') : undefined;
  channel?.addEventListener('message', ({ data }: MessageEvent<(Message & { basePath: string }) | null>) => {
    if (data?.basePath === basePath) listener?.(data);
  });
  return channel;
}

export function tell(basePath: string, message: Message): void {
  const channel = listen(basePath);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is another postMessage
  channel?.postMessage({ basePath, ...message });
  channel?.close();
}
