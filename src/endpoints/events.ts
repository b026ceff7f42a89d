/**
 * `GET /bff/events`: the session as server-sent events, for as long as it lasts. `session` is what `/bff/session` answers,
 * at once and whenever it changes; `signed-out` says why it is over.
 */
import { requireSameOrigin } from '../http/same-origin.ts';
import { headersOf, type BffContext, type EndpointDeps } from './endpoint.ts';
import { eventText, streamHeaders } from './event-stream.ts';
import { createEventStreams, retryLate } from './event-streams.ts';
import type { SessionViews } from './session-view.ts';

export function createSessionEvents(deps: EndpointDeps, views: SessionViews) {
  const { config, sessions, writeRaw } = deps;
  const streams = createEventStreams(config, { ...deps, views });

  return async function follow(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config);
    const opened = await sessions.open(headers.cookie);
    if (opened.state !== 'active')
      return c.body(retryLate + eventText('session', views.of(opened)), 200, streamHeaders);
    return writeRaw(c, async (_request, response) => streams.open(response, opened.entry));
  };
}
