/** Which instance of the browser module the hooks use: the nearest provider's, or the one that everybody shares. */
import { createContext, useContext } from 'react';
import { current, login, logout, refresh, secondsLeft, session, subscribe, type Sallyport } from '../index.ts';

/** What the hooks need of an instance of `sallyport/browser`. A test of an app can bring one of its own. */
export type SessionClient = Pick<
  Sallyport,
  'session' | 'current' | 'subscribe' | 'secondsLeft' | 'refresh' | 'login' | 'logout'
>;

const defaultClient: SessionClient = { session, current, subscribe, secondsLeft, refresh, login, logout };

export const ClientContext = createContext(defaultClient);

export function useClient(): SessionClient {
  return useContext(ClientContext);
}
