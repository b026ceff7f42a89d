/** One page with all hooks, for the server and for the browser. */
import type { ReactElement } from 'react';
import type { SessionClient } from 'sallyport/react';
import { Countdown, Gates, Status, Within } from './components.tsx';

export function Page({ client }: { readonly client?: SessionClient }): ReactElement {
  return (
    <Within {...(client && { client })}>
      <Status />
      <Gates />
      <Countdown />
    </Within>
  );
}
