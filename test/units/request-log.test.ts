/** The request log writes its line itself, because pino takes too long for it. It must be the line that pino would write. */
import { EventEmitter } from 'node:events';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { assert, boolean, integer, oneof, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BffError } from '../../src/http/errors.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { createRequestLog, logProblem } from '../../src/telemetry/request-log.ts';

interface Line {
  readonly level: number;
  readonly time: number;
  readonly ms: number;
}

function observed(level = 'info') {
  const lines: string[] = [];
  const { log } = createLog({ level, to: { write: (line) => void lines.push(line) } });
  return { lines, log, requestLog: createRequestLog(log, () => 'AbC_-9-1z') };
}

/** What a server gives an observer: only the fields that the log reads. */
function exchange(request: { readonly method?: string; readonly url?: string }, statusCode: number, isWhole: boolean) {
  const response = Object.assign(new EventEmitter(), { req: request, statusCode, writableFinished: isWhole });
  return { request: request as IncomingMessage, response: response as unknown as ServerResponse };
}

const anyText = oneof(string({ unit: 'binary' }), string({ unit: 'grapheme-ascii' }));

describe('the line of a request', () => {
  test('is the one that pino would write, whatever the path and the method hold', () => {
    assert(
      property(anyText, anyText, integer({ min: 100, max: 999 }), boolean(), (path, method, status, isWhole) => {
        const { lines, log, requestLog } = observed();
        const { request, response } = exchange({ method, url: path.replaceAll('?', '') }, status, isWhole);
        requestLog.onRequest(request, response);
        response.emit('close');
        const [line = ''] = lines;
        const { time, ms } = JSON.parse(line) as Line;
        const fields = { requestId: 'AbC_-9-1z', method, path: request.url, status, ms };
        log.info({ ...fields, ...(isWhole ? {} : { aborted: true }) }, 'request');
        expect(line).toBe(lines[1]?.replace(/"time":\d+/, `"time":${time}`));
      }),
    );
  });

  test('has no query, and says what error the request got', () => {
    const { lines, log, requestLog } = observed();
    const { request, response } = exchange({ method: 'GET', url: '/bff/callback?code=secret' }, 503, true);
    requestLog.onRequest(request, response);
    logProblem(log, new BffError('provider_unavailable', 'gone'), 'AbC_-9-1z', request);
    response.emit('close');
    expect(JSON.parse(lines[1] ?? '')).toEqual({
      level: 30,
      time: expect.closeTo(Date.now(), -4),
      requestId: 'AbC_-9-1z',
      method: 'GET',
      path: '/bff/callback',
      status: 503,
      ms: expect.any(Number),
      code: 'provider_unavailable',
      msg: 'request',
    });
  });

  test('of an upgrade whose client left before an answer has no status', () => {
    const { lines, requestLog } = observed();
    const { request } = exchange({ method: 'GET', url: '/socket' }, 0, false);
    requestLog.onUpgrade(request, undefined, performance.now());
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0] ?? '') as object;
    expect(line).toMatchObject({ method: 'GET', path: '/socket', aborted: true });
    expect(line).not.toHaveProperty('status');
  });
});
