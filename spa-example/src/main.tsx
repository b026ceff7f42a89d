import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { SessionProvider } from 'sallyport/react';
import { App } from './app.tsx';
import { sallyport, takeLoginRequired } from './session.ts';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no element with the id "root".');
createRoot(root).render(
  <StrictMode>
    <SessionProvider client={sallyport}>
      <App loginRequired={takeLoginRequired()} />
    </SessionProvider>
  </StrictMode>,
);
