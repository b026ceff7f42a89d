/** What the log says at the start about a set-up whose store is the memory of this process. */
import type { Config } from '../config/config.ts';

const forgets =
  "Sign-outs and the results of refreshes are in this process's memory only. A restart forgets them: a copied cookie of a " +
  'session that was signed out works again, and an answer lost on its way may end a session. Set SALLYPORT_REDIS_URL, or ' +
  'SALLYPORT_STORE_FILE on one machine.';

const signsOut =
  "Sessions are in this process's memory: a restart signs everyone out. Set SALLYPORT_REDIS_URL, or SALLYPORT_STORE_FILE " +
  'on one machine.';

const alone =
  'Run one instance only: several without a shared store would show the provider used refresh tokens, and a provider that ' +
  'rotates them signs people out.';

const reachesOne =
  'Back-channel logout reaches this process only: on other machines the sessions go on. ' +
  'SALLYPORT_LOGOUT_BACKCHANNEL=shared refuses such a start.';

/** The warnings for a store that neither lasts nor is shared. */
export function memoryWarnings({ session, logout }: Config): string {
  const loss = session.mode === 'store' ? signsOut : forgets;
  return [loss, alone, ...(logout.backchannel === false ? [] : [reachesOne])].join(' ');
}
