import { defineConfig } from 'vitest/config';

/** Suites that need more than the machine offers by default are run on demand: `SUITES=keycloak npm test`. */
const onDemand = ['bench', 'keycloak'].filter((suite) => !(process.env['SUITES'] ?? '').split(',').includes(suite));

export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['**/*.test.ts'],
    exclude: onDemand.map((suite) => `${suite}/**`),
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    restoreMocks: true,
    unstubEnvs: true,
  },
});
