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
    file: text.optional().meta({
      description:
        'A file of this machine in which sign-outs, refreshes and sessions outlive the process, e.g. ' +
        '`/var/lib/sallyport/store.db`. Its folder must exist. What it holds is sealed or hashed.',
    }),
    caFile: text.optional().meta({
      description:
        "A PEM file with the certificate authorities of Redis or Valkey, in place of the system's. Each of them can issue a " +
        'certificate with which its holder can read and change what is stored.',
    }),
    recheckSeconds: seconds(1, 60)
      .default(5)
      .meta({
        description:
          'While messages of other instances cannot come, a session is looked up again after so many seconds: for that ' +
          'long, one that was ended elsewhere may go on.',
      }),
    whenDown: z
      .enum(['unavailable', 'refresh'], 'must be "unavailable" or "refresh"')
      .default('unavailable')
      .meta({
        description:
          'What happens to a call whose access token has expired while the store cannot be reached. `unavailable`: it gets ' +
          '503, and the session is kept. `refresh`: each instance refreshes on its own. That is for sticky sessions and for ' +
          'providers that do not rotate refresh tokens; elsewhere, two instances would show the provider the same refresh ' +
          'token, and it would sign the person out.',
      }),
  })
  .prefault({});
