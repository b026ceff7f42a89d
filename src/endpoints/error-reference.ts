/**
 * `GET /bff/errors`: what each code means, and what to do. The `type` of a problem leads here (RFC 9457 3.1.1), so that
 * the explanation is always that of the version which runs, and needs no other site.
 */
import { describeCode, errorCodes } from '../http/errors.ts';
import { errorReferencePage } from '../http/pages.ts';
import { sendPage, type BffContext } from './endpoint.ts';

export function createErrorReference() {
  const page = errorReferencePage(errorCodes.map((code) => [code, describeCode(code)]));

  return async function showErrors(c: BffContext): Promise<Response> {
    return sendPage(c, page);
  };
}
