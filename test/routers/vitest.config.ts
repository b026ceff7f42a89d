import { defineConfig } from 'vitest/config';

/** `npm run test:routers`: what needs Python, Go and Java, and so stays out of `npm test`. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    // The first run compiles Go's standard library and fetches Spring and Jetty.
    hookTimeout: 300_000,
  },
});
