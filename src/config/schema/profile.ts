/** The security profile that a deployment holds itself and its provider to. */
import { z } from 'zod';

export const profile = z
  .enum(['fapi2', 'fapi2-message-signing'], 'must be "fapi2" or "fapi2-message-signing"')
  .optional()
  .meta({
    description:
      'A [security profile](client-security.md#fapi-20): turns on what it demands, and refuses what contradicts it, here ' +
      'and at the provider. `fapi2`: the FAPI 2.0 Security Profile. `fapi2-message-signing`: signed requests, answers and ' +
      'introspection as well (FAPI 2.0 Message Signing).',
  });
