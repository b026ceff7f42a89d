/** What a test's page offers to the test, as `kit`: instances that it drives, and components that it mounts. */
import { StrictMode, type ReactElement } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { version } from 'react';
import { AuthPanel, Countdown, Gates, Guarded, Identity, renders, Status, Within } from './components.tsx';
import { createFakeClient, signedIn, type FakeClient } from './fake-client.ts';
import { Page } from './page.tsx';

const scenes = {
  status: <Status />,
  two: (
    <>
      <Status />
      <Status />
    </>
  ),
  gates: <Gates />,
  identity: <Identity />,
  countdown: <Countdown />,
  countdown10: <Countdown warnSeconds={10} />,
  auth: <AuthPanel />,
  guarded: <Guarded of="alice" />,
} satisfies Record<string, ReactElement>;

const container = () => document.querySelector('#app') as HTMLElement;
let root: Root | undefined;

const kit = {
  version,
  renders,
  signedIn,
  createFakeClient,
  /** Renders a scene with this client, in the root of the page, strictly as in development. */
  show(scene: keyof typeof scenes, client?: FakeClient) {
    root ??= createRoot(container());
    root.render(
      <StrictMode>
        <Within {...(client && { client })}>{scenes[scene]}</Within>
      </StrictMode>,
    );
  },
  /** Takes over the markup that the server rendered. */
  hydrate(markup: string, client?: FakeClient) {
    container().innerHTML = markup;
    root = hydrateRoot(
      container(),
      <StrictMode>
        <Page {...(client && { client })} />
      </StrictMode>,
      {
        onRecoverableError: (error) => reportError(error),
      },
    );
  },
  unmount() {
    root?.unmount();
    root = undefined;
  },
};

Object.assign(window, { kit });
