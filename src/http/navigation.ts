/** Whether a person navigates, by the headers of W3C Fetch Metadata. */
import type { IncomingHttpHeaders } from 'node:http';

/** Whether the browser loads ahead, before a person has asked. */
export function isPrefetch(headers: IncomingHttpHeaders): boolean {
  return headers['sec-purpose'] !== undefined || headers['purpose'] === 'prefetch';
}

/** Whether a person navigates a tab or window to this address: no fetch, prefetch, image or frame. */
export function isNavigation(headers: IncomingHttpHeaders): boolean {
  if (isPrefetch(headers)) return false;
  const mode = headers['sec-fetch-mode'];
  if (mode === undefined) return headers.accept?.includes('text/html') === true;
  const destination = headers['sec-fetch-dest'];
  return mode === 'navigate' && (destination === undefined || destination === 'document');
}

/**
 * Whether fetch metadata marks the request as a prefetch, a frame or a script's. GET endpoints that change state refuse
 * those.
 */
export function isPrefetchOrSubresource(headers: IncomingHttpHeaders): boolean {
  return isPrefetch(headers) || (headers['sec-fetch-mode'] !== undefined && !isNavigation(headers));
}
