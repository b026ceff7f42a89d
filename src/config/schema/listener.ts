/** The keys of the listeners. */
import { z } from 'zod';
import { port, text } from '../kinds.ts';

export const listen = z
  .strictObject({
    host: text.optional().meta({
      description:
        'Listening address. Default: `127.0.0.1` on a loopback origin, else `0.0.0.0`. Clients that reach it directly ' +
        'bypass the proxy that terminates TLS.',
    }),
    port: port.optional().meta({
      description: "Listening port. Default: the origin's on a loopback origin, else 3000.",
    }),
    opsPort: port.optional().meta({
      description:
        'Port of a second listener, for `/livez` and `/readyz`. Default: none. It has no authentication and shows ' +
        'nothing but the status.',
    }),
  })
  .prefault({});
