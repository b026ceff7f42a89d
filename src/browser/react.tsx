/**
 * The session in React 18 and 19: the module `sallyport/react`. Nothing here asks or stores anything by itself: the
 * browser module does, and these hooks show what it knows.
 */
export * from './react/session.tsx';
export * from './react/countdown.ts';
export * from './react/auth.tsx';
