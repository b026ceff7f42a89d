/** The keys of the listeners, and of how they end. */
import { z } from 'zod';
import { bearerToken, port, seconds, text } from '../kinds.ts';

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
        'Port of a second listener, for `/livez` and `/readyz`, which have no authentication and show nothing but the ' +
        'status, and with `opsToken` for the sessions API. Default: none.',
    }),
    opsToken: bearerToken()
      .optional()
      .meta({
        description:
          'The bearer token, at least 32 characters, with which an operator lists and ends sessions at `opsPort` ' +
          '(`sallyport sessions`). Default: none, and no such API. Whoever has it and reaches the port can sign everyone out ' +
          'and sees from which networks people came.',
      }),
  })
  .prefault({});

export const drain = z
  .strictObject({
    waitSeconds: seconds(0, 3600)
      .optional()
      .meta({
        description:
          'The first part of `drainSeconds`: the server says that it is not ready and goes on serving, because load ' +
          'balancers take a moment to send nothing more. Default: a fifth of `drainSeconds`; on a loopback origin 0. SIGINT ' +
          'leaves it out.',
      }),
  })
  .prefault({});

export const drainSeconds = seconds(0, 3600)
  .default(25)
  .meta({
    description:
      'Seconds that the server gets to stop after SIGTERM. Calls in flight may finish within them; then their connections ' +
      'are cut. A SIGKILL that comes earlier cuts them without notice.',
  });
