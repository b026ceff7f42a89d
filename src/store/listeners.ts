/** Those who listen to a store's messages. */
import type { StoreMessage } from './store.ts';

export interface StoreListeners {
  /** Calls every listener. An error of one reaches neither the operation that publishes nor the other listeners. */
  publish(message: StoreMessage): void;
  subscribe(listener: (message: StoreMessage) => void): () => void;
  clear(): void;
}

export function createStoreListeners(): StoreListeners {
  // Wrapped, so that one function can subscribe twice.
  const listeners = new Set<{ readonly call: (message: StoreMessage) => void }>();
  return {
    publish(message) {
      for (const listener of listeners) {
        try {
          listener.call(message);
        } catch (error) {
          process.emitWarning(error instanceof Error ? error : String(error));
        }
      }
    },
    subscribe(call) {
      const listener = { call };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    clear: () => listeners.clear(),
  };
}
