/** The codes of undici and Node for a connection that the other side has closed or reset. */
import { codeOf } from '../http/errors.ts';

const connectionEndCodes = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Whether the other side closed or reset the connection. */
export function isConnectionEnd(error: unknown): boolean {
  return connectionEndCodes.has(codeOf(error));
}
