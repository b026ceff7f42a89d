/** Sallyport inside somebody else's server, for one test. */
import type { Server } from 'node:http';
import { onTestFinished } from 'vitest';
import { createBff, type Bff } from '../../src/bff.ts';
import type { ConfigInput } from '../../src/config/config.ts';
import { closeNow, listen, trackSockets } from './listener.ts';

/** Mounts it in the server that `serverOf` makes, which then listens. */
export async function mountBff(
  config: ConfigInput,
  serverOf: (bff: Bff) => Server,
): Promise<{ bff: Bff; server: Server; port: number }> {
  const bff = createBff(config);
  const server = serverOf(bff);
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  onTestFinished(async () => {
    await closeNow(server, sockets);
    await bff.close();
  });
  return { bff, server, port };
}
