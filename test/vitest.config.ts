import { defineConfig } from 'vitest/config';
import { LongestFirst } from './support/longest-first.ts';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['**/*.test.ts'],
    // The benchmark is no test; what needs more than this machine has a configuration of its own.
    exclude: [
      ...['bench', 'browsers', 'keycloak', 'routers', 'providers', 'frameworks', 'soak'].map(
        (folder) => `${folder}/**`,
      ),
      '**/node_modules/**',
    ],
    pool: 'forks',
    // On two cores: a file waits for about as long as it works, and with four some meet their time limits.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    restoreMocks: true,
    unstubEnvs: true,
  },
});
