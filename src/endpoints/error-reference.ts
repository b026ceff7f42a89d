/**
 * `GET /bff/errors`: what each code means, and what to do. The `type` of a problem leads here (RFC 9457 3.1.1), so that
 * the explanation is always that of the version which runs, and needs no other site.
 */
import { errorReferencePage } from '../http/pages.ts';
import { sendPage, type BffContext, type EndpointDeps } from './endpoint.ts';

export function createErrorReference({ config }: Pick<EndpointDeps, 'config'>) {
  const page = errorReferencePage(config);

  return async function showErrors(c: BffContext): Promise<Response> {
    return sendPage(c, page);
  };
}
