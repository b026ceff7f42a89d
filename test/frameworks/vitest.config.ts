import { defineConfig } from 'vitest/config';

/** `npm run test:frameworks`: what needs hundreds of packages more, and so stays out of `npm test`. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
    // Angular is compiled.
    hookTimeout: 120_000,
  },
});
