/** Errors as the app meets them: Sallyport's problems (RFC 9457), the API's own, a lost network. */

/** A call that failed, with text a person can read. */
export class CallError extends Error {
  override readonly name = 'CallError';
}

/** The text to show for anything that was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof TypeError) return 'The server did not answer. Are you offline?';
  return error instanceof Error ? error.message : String(error);
}

/** Reads why an answer is no success. */
export async function readError(response: Response): Promise<CallError> {
  const { status, headers } = response;
  const body = headers.get('content-type')?.includes('json')
    ? ((await response.json()) as Record<string, unknown>)
    : {};
  const texts = [body['title'], body['detail'], body['message']].filter((text) => typeof text === 'string');
  return new CallError(texts.length > 0 ? texts.join(' ') : `The call failed (${status}).`);
}
