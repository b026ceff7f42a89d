/** Whether a person navigates, by what browsers say of it (W3C Fetch Metadata). */
import type { IncomingHttpHeaders } from 'node:http';

export function isPrefetch(headers: IncomingHttpHeaders): boolean {
  return headers['sec-purpose'] !== undefined || headers['purpose'] === 'prefetch';
}

/** Whether a person navigates a tab or window there: not a fetch, a prefetch, an image or a frame. */
export function isNavigation(headers: IncomingHttpHeaders): boolean {
  if (isPrefetch(headers)) return false;
  const mode = headers['sec-fetch-mode'];
  if (mode === undefined) return headers.accept?.includes('text/html') === true;
  const destination = headers['sec-fetch-dest'];
  return mode === 'navigate' && (destination === undefined || destination === 'document');
}

/** Whether the headers rule a navigation out: what ends a sign-in or a session must not be done ahead or in a frame. */
export function isPrefetchOrSubresource(headers: IncomingHttpHeaders): boolean {
  return isPrefetch(headers) || (headers['sec-fetch-mode'] !== undefined && !isNavigation(headers));
}
