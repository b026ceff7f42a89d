/** What it means that a question about a token for an API has failed. */
import { ResponseBodyError } from 'openid-client';
import type { BffError } from '../http/errors.ts';
import { InvalidTokenResponse, providerUnavailable, RefusedToken } from './provider-errors.ts';
import { withProvidersWords } from './refusal.ts';
import { isFinalRefusal } from './token-response.ts';

/** The error of a call to the provider: a refusal tells nothing about others, and anything else may pass. */
export async function asNoToken(error: unknown): Promise<BffError> {
  if (error instanceof InvalidTokenResponse) return new RefusedToken(error);
  const cause = await withProvidersWords(error);
  const isRefused = error instanceof ResponseBodyError && isFinalRefusal(error.status, error.error);
  return isRefused ? new RefusedToken(cause) : providerUnavailable(error, cause);
}
