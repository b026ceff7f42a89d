/** How the provider's answer to a login travels (`client.responseMode`). */
import type { Config } from '../config/config.ts';

type ResponseMode = Config['client']['responseMode'];

interface Configured {
  readonly client: { readonly responseMode: ResponseMode };
}

/** Whether it comes by a form's POST, and not by the address. */
export function comesByForm({ client: { responseMode } }: Configured): boolean {
  return responseMode === 'form_post' || responseMode === 'form_post.jwt';
}

/** Whether it is signed (JARM). */
export function expectsSignedResponse({ client: { responseMode } }: Configured): boolean {
  return responseMode === 'jwt' || responseMode === 'form_post.jwt';
}

/** The `response_mode` of a request; undefined where it is that of every code flow. */
export function requestedMode({ client: { responseMode } }: Configured): ResponseMode | undefined {
  return responseMode === 'query' ? undefined : responseMode;
}
