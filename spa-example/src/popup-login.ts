import { useEffect, useRef, useState } from 'react';
import type { LoginOptions } from 'sallyport/browser';
import { describeError } from './problem.ts';
import { sallyport } from './session.ts';

export interface PopupLogin {
  /** What went wrong, or what to do while the popup is open. */
  message: string | undefined;
  /** Resolves true when the person has signed in. */
  open: () => Promise<boolean>;
}

/** A sign-in beside the page. Nothing tells when a popup is closed, so the button stays, for another one. */
export function usePopupLogin(options: LoginOptions): PopupLogin {
  const [message, setMessage] = useState<string>();
  const waiting = useRef<AbortController>(undefined);
  useEffect(() => () => waiting.current?.abort(), []);

  async function open(): Promise<boolean> {
    waiting.current?.abort();
    const { signal } = (waiting.current = new AbortController());
    setMessage('Sign in in the window that has opened. Closed it? Press the button again.');
    try {
      return (await sallyport.login({ ...options, popup: true, signal })).authenticated;
    } catch (error) {
      if (!signal.aborted) setMessage(`That did not work: ${describeError(error)}`);
      return false;
    }
  }

  return { message, open };
}
