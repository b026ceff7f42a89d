/**
 * What makes a process stop: SIGTERM from a supervisor, SIGINT from a person at a terminal, and the end of the npm that
 * ran it. A second signal ends the process at once.
 */
import type { Shutdown } from './shutdown.ts';

/**
 * Signals within this time are one: Ctrl+C sends SIGINT to all processes of a terminal, and npm passes on its own to the
 * script that it runs.
 */
const oneSignalMs = 1000;

/** For the log and the store, when a second signal has cut everything else. */
const lastWordsMs = 1000;

/**
 * Ends the process after `close`, when it is told to stop. Before the server runs, too: where this process is the first
 * one of a container, signals that it does not handle have no effect.
 * @param onFailure called if `close` rejects
 */
export function stopOnSignal(close: Shutdown, onFailure: (error: unknown) => void): void {
  let since: number | undefined;

  function stop(limits?: { readonly waitSeconds: number }): void {
    if (since === undefined) {
      since = performance.now();
      close(limits).then(exit, onFailure);
    } else if (performance.now() - since > oneSignalMs) {
      close({ drainSeconds: 0 }).then(exit, onFailure);
      setTimeout(exit, lastWordsMs);
    }
  }

  process.on('SIGTERM', () => stop());
  // A person at a terminal has no load balancer to wait for.
  process.on('SIGINT', () => stop({ waitSeconds: 0 }));
  if (isRunByNpm(process.env)) onceOrphaned(() => stop());
}

function exit(): void {
  process.exit();
}

/** Whether a script of npm, or of another package manager, runs this command. */
function isRunByNpm({ npm_lifecycle_script: script = '' }: NodeJS.ProcessEnv): boolean {
  return /\bsallyport\b|\bcli\/main\.[jt]s\b/.test(script);
}

const parentPollMs = 500;

/**
 * npm passes SIGTERM and SIGINT on to the shell of its script, and other signals to nobody; a shell that does not hand its
 * process over (`exec`) passes on none. The system then gives this process another parent. Not on Windows.
 */
function onceOrphaned(stop: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, parentPollMs).unref();
}
