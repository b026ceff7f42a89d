/** Sallyport as a library. */
export { createBff, type Bff, type BffOptions } from './bff.ts';
export {
  ConfigError,
  dangerouslyAllowHttpIssuer,
  defineConfig,
  type ConfigFault,
  type ConfigFile,
  type ConfigInput,
} from './config/config.ts';
export type { TokenFunction, TokenRequest, TokenSession } from './config/token-function.ts';
export { BffError, errorCodes, type ErrorCode } from './http/errors.ts';
export type { BffEvent, Events, SessionEnd } from './events.ts';
export type { SessionsView } from './endpoints/session-list.ts';
export type { SessionView, SignedOutReason } from './session-view.ts';
export { startServer, type CloseLimits, type RunningServer, type ServerOptions } from './server/server.ts';
export { createMemoryStore } from './store/memory.ts';
export type { Store } from './store/store.ts';
export type { Claims } from './token-set.ts';
