/**
 * The configuration of this example, as you would write it for your own app. The secrets come from the environment
 * (`SALLYPORT_CLIENT_SECRET`, `SALLYPORT_SECRET`, or either with `_FILE`); they have no place in a file that is
 * committed. `npm start` puts throw-away values in their place.
 */
import { join } from 'node:path';
import { defineConfig } from '../src/index.ts'; // in your project: from 'sallyport'

export default defineConfig({
  origin: 'http://localhost:3000',
  issuer: 'http://127.0.0.1:9000',
  client: { id: 'spa-example' },
  scope: 'openid profile email offline_access notes',
  api: [{ path: '/api', target: 'http://127.0.0.1:9100/v1' }],
  session: { idleSeconds: 15 * 60 },
  spa: { folder: join(import.meta.dirname, 'dist') },
});
