import { defineConfig } from 'vitest/config';

/** `npm run test:soak`: minutes under load and faults, which need both cores, and so stay out of `npm test`. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    hookTimeout: 60_000,
  },
});
