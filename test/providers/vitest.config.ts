import { defineConfig } from 'vitest/config';

/** `npm run test:providers`: what is built with Go and takes minutes the first time, and so stays out of `npm test`. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['*.test.ts'],
    pool: 'forks',
    // The tests mostly wait for tokens to expire.
    maxWorkers: 3,
    testTimeout: 60_000,
    // The first run compiles the providers and all that they are made of.
    hookTimeout: 1_200_000,
  },
});
