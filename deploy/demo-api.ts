/** The demo API as a process of its own, for docker-compose.yml. Its options come from the environment. */
import { startDemoApi } from '../spa-example/demo/api.ts';

const api = await startDemoApi({
  host: required('API_HOST'),
  port: Number(required('API_PORT')),
  issuer: required('API_ISSUER'),
  audience: required('API_AUDIENCE'),
  jwksUrl: required('API_JWKS_URL'),
});
process.stdout.write(`The demo API listens on ${api.url}\n`);

// PID 1 of a container has no default action for SIGTERM: without this, stopping takes ten seconds and a SIGKILL.
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => void api.close());
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set.`);
  return value;
}
