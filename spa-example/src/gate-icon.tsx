import type { ReactNode } from 'react';

/** The guarded door. Its colours come from the style sheet. */
export function GateIcon(): ReactNode {
  return (
    <svg className="gate-icon" viewBox="0 0 32 32" aria-hidden="true">
      <path className="gate-arch" d="M7 26V14a9 9 0 0 1 18 0v12h-4.5V14a4.5 4.5 0 0 0-9 0v12z" />
      <path className="gate-light" d="M14.2 26V15.8a1.8 1.8 0 0 1 3.6 0V26z" />
    </svg>
  );
}
