/** The keys of the calls to the provider. */
import { z } from 'zod';
import { seconds, text } from '../kinds.ts';

export const provider = z
  .strictObject({
    timeoutSeconds: seconds(0.1, 120)
      .default(10)
      .meta({
        description:
          'Time limit in seconds of a call to the provider, and of the wait of an API call for a refresh, which goes on for ' +
          'three times as long. While the provider hangs, sign-ins and calls hang, too.',
      }),
    clockToleranceSeconds: seconds(0, 600)
      .default(120)
      .meta({
        description:
          "Seconds by which the provider's clock may differ from this machine's. An ID token that has expired is accepted " +
          'for as long.',
      }),
    caFile: text.optional().meta({
      description:
        "A PEM file with the certificate authorities of the provider, in place of the system's. Each of them can issue a " +
        'certificate with which its holder can sign people in as anyone.',
    }),
  })
  .prefault({});
