/** Whether a person navigates, by the headers of W3C Fetch Metadata. */
import type { IncomingHttpHeaders } from 'node:http';

/** Whether the browser loads ahead, before a person has asked. */
export function isPrefetch(headers: IncomingHttpHeaders): boolean {
  return headers['sec-purpose'] !== undefined || headers['purpose'] === 'prefetch';
}

/**
 * Whether a service worker passed a navigation on, by `respondWith(fetch(event.request))`. It arrives without its
 * destination. In Chromium the mode stays `navigate`, for which no script can ask. In Firefox it becomes `same-origin`,
 * for which only scripts of this origin can ask; they rarely do, and more rarely ask for HTML then.
 */
export function isPassedOnNavigation(headers: IncomingHttpHeaders): boolean {
  if (headers['sec-fetch-dest'] !== 'empty') return false;
  const mode = headers['sec-fetch-mode'];
  return mode === 'navigate' || (mode === 'same-origin' && acceptsHtml(headers));
}

/**
 * Whether a person navigates a tab or window to this address: no fetch, prefetch, image or frame. A frame whose
 * navigation a service worker passed on can't be told from a tab.
 */
export function isNavigation(headers: IncomingHttpHeaders): boolean {
  if (isPrefetch(headers)) return false;
  const mode = headers['sec-fetch-mode'];
  if (mode === undefined) return acceptsHtml(headers);
  const destination = headers['sec-fetch-dest'];
  if (mode === 'navigate' && (destination === undefined || destination === 'document')) return true;
  return isPassedOnNavigation(headers);
}

/**
 * Whether a page of this origin caused the navigation, so that it shows every cookie that the browser has. Not known of
 * what a service worker passed on in Firefox, which calls every navigation `same-origin` then and yet withholds cookies.
 */
export function comesFromOwnPage(headers: IncomingHttpHeaders): boolean {
  return headers['sec-fetch-site'] === 'same-origin' && headers['sec-fetch-mode'] !== 'same-origin';
}

/** Whether a page of another origin caused the request, a sibling's included. Older browsers don't say. */
export function comesFromOtherSite(headers: IncomingHttpHeaders): boolean {
  return headers['sec-fetch-site'] === 'cross-site' || headers['sec-fetch-site'] === 'same-site';
}

/**
 * Whether fetch metadata marks the request as a prefetch, a frame or a script's. GET endpoints that change state refuse
 * those.
 */
export function isPrefetchOrSubresource(headers: IncomingHttpHeaders): boolean {
  return isPrefetch(headers) || (headers['sec-fetch-mode'] !== undefined && !isNavigation(headers));
}

function acceptsHtml({ accept }: IncomingHttpHeaders): boolean {
  return accept?.includes('text/html') === true;
}
