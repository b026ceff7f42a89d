/** The process that `startFileStoreProcess` starts: it runs the operations that its parent sends. */
import { createFileStore } from '../../src/store/file.ts';
import type { Store } from '../../src/store/store.ts';

const [, , path = ''] = process.argv;
const send = (message: object) => void process.send?.(message);
const store = createFileStore(path, { onError: (cause) => send({ type: 'failed', error: String(cause) }) });
store.subscribe((message) => send({ type: 'heard', message: { ...message, at: Date.now() } }));

async function flood(prefix: string): Promise<void> {
  for (let count = 1; ; count += 1) {
    await store.end(`${prefix}:${count}`, 'logout', 600);
    send({ type: 'flooded', count });
    // Lets the message leave.
    if (count % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function run(method: string, args: readonly unknown[]): Promise<unknown> {
  if (method === 'open') return undefined;
  if (method === 'state') return { reachable: store.reachable() };
  if (method === 'flood') return flood(String(args[0]));
  return (store[method as keyof Store] as (...args: readonly unknown[]) => Promise<unknown>)(...args);
}

process.on('message', ({ id, method, args }: { id: number; method: string; args: unknown[] }) => {
  run(method, args).then(
    (result) => send({ type: 'reply', id, result }),
    (error: unknown) => send({ type: 'reply', id, error: String(error) }),
  );
});
process.on('disconnect', () => process.exit());
