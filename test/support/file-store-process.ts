/**
 * A process of its own that uses a store's file: it runs the operations that its parent sends, and tells what it hears. Run
 * by {@link startFileStoreProcess}.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import type { Store, StoreMessage } from '../../src/store/store.ts';

export interface FileStoreProcess {
  readonly child: ChildProcess;
  /** The store in that process. */
  call<Method extends 'end' | 'look' | 'useOnce' | 'claim'>(
    method: Method,
    ...args: Parameters<Store[Method]>
  ): ReturnType<Store[Method]>;
  /** What it has heard, and at what time by the machine's clock. */
  readonly heard: ReadonlyArray<StoreMessage & { at: number }>;
  /** Of what kind its failures were. */
  readonly errors: readonly string[];
  /** Lets it end sessions `prefix:1`, `prefix:2` … as fast as it can. `ended` grows with what it has done. */
  flood(prefix: string): { readonly ended: number };
  state(): Promise<{ reachable: boolean }>;
}

type Reply =
  | { readonly type: 'reply'; readonly id: number; readonly result?: unknown; readonly error?: string }
  | { readonly type: 'heard'; readonly message: StoreMessage & { at: number } }
  | { readonly type: 'failed'; readonly error: string }
  | { readonly type: 'flooded'; readonly count: number };

/** Starts the process, and waits until the file is open. */
export async function startFileStoreProcess(path: string): Promise<FileStoreProcess> {
  const child = fork(new URL('file-store-child.ts', import.meta.url), [path], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const waiting = new Map<number, (reply: Extract<Reply, { type: 'reply' }>) => void>();
  const heard: Array<StoreMessage & { at: number }> = [];
  const errors: string[] = [];
  const flooded = { ended: 0 };
  let lastId = 0;

  async function ask(method: string, args: readonly unknown[]): Promise<unknown> {
    const id = ++lastId;
    child.send({ id, method, args });
    const reply = await new Promise<Extract<Reply, { type: 'reply' }>>((resolve) => waiting.set(id, resolve));
    if (reply.error !== undefined) throw new Error(reply.error);
    return reply.result;
  }

  child.on('message', (reply: Reply) => {
    if (reply.type === 'heard') heard.push(reply.message);
    if (reply.type === 'failed') errors.push(reply.error);
    if (reply.type === 'flooded') flooded.ended = reply.count;
    if (reply.type === 'reply') waiting.get(reply.id)?.(reply);
  });
  await ask('open', []);
  return {
    child,
    heard,
    errors,
    call: (async (method: string, ...args: unknown[]) => ask(method, args)) as FileStoreProcess['call'],
    flood(prefix) {
      child.send({ id: 0, method: 'flood', args: [prefix] });
      return flooded;
    },
    state: async () => (await ask('state', [])) as { reachable: boolean },
  };
}
