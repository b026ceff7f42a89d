/** One instance's link to a store that several share: each operation and each message goes where the test sends it. */
import type { Store, StoreMessage } from '../../src/store/store.ts';

export interface Link {
  /** Called for each operation, before it reaches the store: may wait, and may throw. */
  before?: (operation: string) => Promise<void>;
  /** Called for each reply, before it reaches the instance: may wait, and may throw, so that the reply is lost. */
  after?: (operation: string) => Promise<void>;
  /** Called to deliver a message. */
  deliver?: (message: StoreMessage, hand: () => void) => void;
  /** Since when messages are heard, in place of the store's own answer. */
  heardSince?: () => number | undefined;
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
    begin: through('begin', store.begin),
    look: through('look', store.look),
    claim: through('claim', store.claim),
    release: through('release', store.release),
    advance: through('advance', store.advance),
    confirm: through('confirm', store.confirm),
    touch: through('touch', store.touch),
    end: through('end', store.end),
    revoke: through('revoke', store.revoke),
    list: through('list', store.list),
    useOnce: through('useOnce', store.useOnce),
    subscribe: (listener) =>
      store.subscribe((message) => {
        if (link.deliver === undefined) listener(message);
        else link.deliver(message, () => listener(message));
      }),
    heardSince: () => (link.heardSince ?? store.heardSince)(),
    reachable: store.reachable,
    close: async () => undefined,
  };
}
