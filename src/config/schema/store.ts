/** The keys of the store, where processes agree about sessions. */
import { z } from 'zod';
import { seconds } from '../kinds.ts';

export const store = z
  .strictObject({
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
