/** One instance's link to a store that several share: each operation and each message goes where the test sends it. */
import type { ClaimResult, Store, StoreMessage } from '../../src/store/store.ts';

export interface Link {
  /** Called for each operation, before it reaches the store: may wait, and may throw. */
  before?: (operation: string) => Promise<void>;
  /** Called for each reply, before it reaches the instance: may wait, and may throw, so that the reply is lost. */
  after?: (operation: string) => Promise<void>;
  /** Called to deliver a message. */
  deliver?: (message: StoreMessage, hand: () => void) => void;
  /** Since when messages are heard, in place of the store's own answer. */
  heardSince?: () => number | undefined;
  /** What a claim is answered with, in place of the store's own answer. */
  replaceClaim?: ClaimResult;
  /** Tells the instance something that the store finds by itself. */
  tell?: (message: StoreMessage) => void;
}

/** What `link` does may be changed at any time. */
export function linkStore(store: Store, link: Link): Store {
  const through =
    <Args extends readonly unknown[], Result>(name: string, operation: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      await link.before?.(name);
      const result = await operation(...args);
      await link.after?.(name);
      return result;
    };
  return {
    shared: true,
    durable: store.durable,
    begin: through('begin', (...args: Parameters<Store['begin']>) => store.begin(...args)),
    look: through('look', (...args: Parameters<Store['look']>) => store.look(...args)),
    claim: through('claim', async (...args: Parameters<Store['claim']>) => link.replaceClaim ?? store.claim(...args)),
    release: through('release', (...args: Parameters<Store['release']>) => store.release(...args)),
    advance: through('advance', (...args: Parameters<Store['advance']>) => store.advance(...args)),
    confirm: through('confirm', (...args: Parameters<Store['confirm']>) => store.confirm(...args)),
    touch: through('touch', (...args: Parameters<Store['touch']>) => store.touch(...args)),
    end: through('end', (...args: Parameters<Store['end']>) => store.end(...args)),
    revoke: through('revoke', (...args: Parameters<Store['revoke']>) => store.revoke(...args)),
    list: through('list', (...args: Parameters<Store['list']>) => store.list(...args)),
    useOnce: through('useOnce', (...args: Parameters<Store['useOnce']>) => store.useOnce(...args)),
    subscribe(listener) {
      const { tell } = link;
      link.tell = (message) => {
        tell?.(message);
        listener(message);
      };
      return store.subscribe((message) => {
        if (link.deliver === undefined) listener(message);
        else link.deliver(message, () => listener(message));
      });
    },
    heardSince: () => (link.heardSince === undefined ? store.heardSince() : link.heardSince()),
    reachable: () => store.reachable(),
    close: async () => undefined,
  };
}
