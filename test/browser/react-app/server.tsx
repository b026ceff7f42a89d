/** Renders the page on a server. */
import { StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import { Page } from './page.tsx';

export function render(): string {
  return renderToString(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
