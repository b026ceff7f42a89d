/**
 * Questions of one route to the provider, behind a circuit breaker: while the provider is down, not each session waits for
 * it. That it refuses a person's token is an answer, and must not close the route for others.
 */
import { createCircuitBreaker } from '../oidc/circuit-breaker.ts';
import { StaleSubjectToken } from '../oidc/further-tokens.ts';
import { RefusedToken, retryAfterMs } from '../oidc/provider-errors.ts';

export function createQuestions() {
  const breaker = createCircuitBreaker(retryAfterMs);

  /**
   * @param subject the session that it is about
   * @throws {PausedError} and whatever the question throws
   */
  return async function ask<T>(subject: string, question: () => Promise<T>): Promise<T> {
    const answer = await breaker.run(subject, async () => {
      try {
        return { said: await question() };
      } catch (error) {
        if (error instanceof RefusedToken || error instanceof StaleSubjectToken) return { refusal: error };
        throw error;
      }
    });
    if ('refusal' in answer) throw answer.refusal;
    return answer.said;
  };
}
