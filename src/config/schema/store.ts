/** The keys of the store: what is shared between processes, and what happens while it is away. */
import { z } from 'zod';
import { seconds, text } from '../kinds.ts';

export const store = z
  .strictObject({
    prefix: text
      .regex(/^[\w.:-]{1,64}$/, 'must be up to 64 letters, digits or "_.:-", e.g. "shop:"')
      .default('sallyport:')
      .meta({
        description:
          'How the names of all keys and channels in Redis or Valkey begin. Another one for each app that shares the server: ' +
          "else they take part in each other's sessions.",
      }),
    caFile: text.optional().meta({
      description:
        "A PEM file with the certificate authorities of Redis or Valkey, in place of the system's. Each of them can issue a " +
        'certificate with which its holder can read and change what is stored.',
    }),
    recheckSeconds: seconds(1, 300)
      .default(5)
      .meta({
        description:
          'While messages of the store cannot come, each session is looked up again after so many seconds. A sign-out ' +
          'elsewhere is then seen that much later.',
      }),
    whenDown: z
      .enum(['unavailable', 'refresh'], 'must be "unavailable" or "refresh"')
      .default('unavailable')
      .meta({
        description:
          'What becomes of a call whose access token has expired while the store is down. `unavailable`: it gets 503 ' +
          '`store_unavailable`. `refresh`: each process refreshes on its own; a provider that allows a refresh token once ' +
          'then ends sessions, unless the calls of a session always reach the same process.',
      }),
  })
  .prefault({});
