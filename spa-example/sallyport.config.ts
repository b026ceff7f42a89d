/**
 * The configuration of this example, as you would write it for your own app. Secrets come from the environment; they
 * have no place in a file that is committed. `npm start` puts its own throw-away values in their place.
 */
import { join } from 'node:path';
import { defineConfig } from '../src/index.ts'; // in your project: from 'sallyport'

export default defineConfig({
  origin: 'http://localhost:3000',
  issuer: 'http://127.0.0.1:9000',
  client: { id: 'spa-example', secret: process.env['SALLYPORT_CLIENT_SECRET'] ?? '' },
  secrets: [process.env['SALLYPORT_SECRET'] ?? ''],
  scope: 'openid profile email offline_access notes',
  api: [{ path: '/api', target: 'http://127.0.0.1:9100/v1' }],
  spa: { folder: join(import.meta.dirname, 'dist') },
});
