import { defineConfig } from 'vitest/config';

/** `npm run test:keycloak`: what needs a Keycloak, a package registry or minutes, and so stays out of `npm test`. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['*.test.ts'],
    pool: 'forks',
    // The files take turns: each needs both cores.
    fileParallelism: false,
    testTimeout: 60_000,
    // The first run downloads Keycloak.
    hookTimeout: 300_000,
  },
});
