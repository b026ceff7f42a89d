/** The keys of the single-page app. */
import { z } from 'zod';
import { flag, httpUrl, text } from '../kinds.ts';

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
    headers: z
      .record(z.string(), z.union([z.string(), z.literal(false)]))
      .default({})
      .meta({
        description:
          'Security headers to replace (a text) or to leave out (`false`). A weaker `content-security-policy` lets an ' +
          'injected script run.',
      }),
  })
  .optional();
