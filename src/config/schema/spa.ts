/** The keys of the single-page app. */
import { z } from 'zod';
import { flag, httpUrl, text } from '../kinds.ts';
import { cspAdditions } from './content-security-policy.ts';

export const spa = z
  .strictObject({
    folder: text.optional().meta({
      description: 'A folder of built files with an `index.html`. Everyone can read what is in it, except dot files.',
    }),
    devServer: httpUrl('the address of a dev server, e.g. "http://localhost:5173"')
      .optional()
      .meta({
        description:
          'The address of a dev server to proxy, hot module replacement included, in place of the folder. For ' +
          'development: its pages have no Content-Security-Policy.',
      }),
    requireLogin: flag.default(false).meta({
      description:
        'Sends people who are not signed in to the login before the SPA loads. A convenience: the files are no secret.',
    }),
    sourceMaps: flag.default(false).meta({
      description: 'Serves `*.map` files. Everyone can then read the source code of the SPA.',
    }),
    symlinks: flag.default(false).meta({
      description:
        'Follows symbolic links whose target is in the folder, as a mounted Kubernetes ConfigMap needs. Links that ' +
        'lead out are never followed.',
    }),
    csp: cspAdditions.default({}).meta({
      description:
        'Sources that the Content-Security-Policy allows besides its own, by directive. Each one is a place from which an ' +
        'injected script could load, or to which it could send.',
    }),
    nonce: text
      .regex(/^[\w{}$%*@.:-]{8,64}$/, 'must be 8 to 64 letters, digits or "_{}$%*@.:-", e.g. "{{csp_nonce}}"')
      .refine(
        (placeholder) => !/^(?:ng-?)?csp-?nonce$/i.test(placeholder),
        'is the name of an attribute; choose a text',
      )
      .optional()
      .meta({
        description:
          'The placeholder that a build has written into its documents for a nonce. Each answer replaces it by a fresh ' +
          'one, which the policy allows in scripts and styles; such a document is stored by no cache.',
      }),
    headers: z
      .record(z.string(), z.union([z.string(), z.literal(false)]))
      .default({})
      .meta({
        description:
          'Security headers to replace (a text) or to leave out (`false`). A `content-security-policy` here takes the ' +
          'place of the whole policy; a weaker one lets an injected script run.',
      }),
  })
  .optional();
