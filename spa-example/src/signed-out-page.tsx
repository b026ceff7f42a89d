import type { ReactNode } from 'react';
import type { SignedOutSession } from 'sallyport/react';
import { GateIcon } from './gate-icon.tsx';

export interface SignedOutPageProps {
  notice: string | undefined;
  onSignIn: SignedOutSession['login'];
}

export function SignedOutPage({ notice, onSignIn }: SignedOutPageProps): ReactNode {
  return (
    <main id="main" tabIndex={-1} className="center">
      <section className="card welcome">
        <p className="brand">
          <GateIcon />
          Sallyport
        </p>
        <p className="banner" role="status">
          {notice}
        </p>
        <h1>One guarded door between your app and its tokens.</h1>
        <p className="lead">
          Sallyport signs people in, keeps their tokens in sealed cookies that JavaScript can’t read, and adds the
          access token to your API calls on the way. This page is an ordinary React app with no token code at all.
        </p>
        <div className="actions">
          <button type="button" className="button button-primary button-large" onClick={() => void onSignIn()}>
            Sign in
          </button>
          <button
            type="button"
            className="button button-quiet button-large"
            onClick={() => void onSignIn({ prompt: 'none' })}
          >
            Sign in without a question
          </button>
        </div>
        <p className="small muted">
          The second one asks the provider with <code>prompt=none</code>: it works when you are signed in there already,
          and otherwise brings you back here.
        </p>
        <ul className="points">
          <li>
            <strong>Nothing to steal.</strong> A script in this page finds no token to send away.
          </li>
          <li>
            <strong>Always fresh.</strong> Tokens are renewed on the way, once, however many calls wait.
          </li>
          <li>
            <strong>Your API stays as it is.</strong> It still gets <code>Authorization: Bearer</code>.
          </li>
        </ul>
      </section>
    </main>
  );
}
