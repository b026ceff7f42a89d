import { useState } from 'react';
import type { ReactNode } from 'react';
import { useSession, useSessionCountdown } from 'sallyport/react';
import { describeError } from './problem.ts';

const warnSeconds = 60;

/** In the last minute: how long it still lasts, and the way to stay. */
export function EndWarning(): ReactNode {
  const { login } = useSession();
  const { isEnding, secondsLeft, stay } = useSessionCountdown({ warnSeconds });
  const [problem, setProblem] = useState<string>();

  async function remain(): Promise<void> {
    setProblem(undefined);
    try {
      // The end of the lifetime doesn't move: only a new sign-in helps.
      if (!(await stay())) await login({ popup: true });
    } catch (error) {
      setProblem(describeError(error));
    }
  }

  if (!isEnding) return null;
  return (
    <section className="banner banner-wide" aria-label="Your session ends soon">
      <p>
        {/* Read out once, not each second. */}
        <span role="alert">Your session ends soon.</span> <span role="timer">{secondsLeft} s left.</span>
      </p>
      <button type="button" className="button" onClick={() => void remain()}>
        Stay signed in
      </button>
      {problem !== undefined && <p role="alert">{problem}</p>}
    </section>
  );
}
