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

export type Tabs = ReturnType<typeof createTabs>;

export const hasChannel = () => typeof BroadcastChannel !== 'undefined';

const open = () => new BroadcastChannel('sallyport');

/** @param receive takes each message once, before those who listen */
export function createTabs(basePath: string, receive: (message: Message) => void) {
  const listeners = new Set<(message: Message) => void>();
  let channel: BroadcastChannel | undefined;

  function hear({ data }: MessageEvent<(Message & { readonly basePath: string }) | null>): void {
    if (data?.basePath !== basePath) return;
    receive(data);
    for (const listener of listeners) listener(data);
  }

  return {
    tell(message: Message): void {
      if (!hasChannel()) return;
      const speaker = channel ?? open();
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is another postMessage
      speaker.postMessage({ basePath, ...message });
      if (speaker !== channel) speaker.close();
    },

    listen(listener: (message: Message) => void = () => undefined): () => void {
      const own = (message: Message) => listener(message);
      listeners.add(own);
      if (channel === undefined && hasChannel()) {
        channel = open();
        channel.addEventListener('message', hear);
      }
      return () => {
        listeners.delete(own);
        if (listeners.size > 0) return;
        channel?.close();
        channel = undefined;
      };
    },
  };
}
