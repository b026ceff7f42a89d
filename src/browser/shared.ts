/** What is asked for while it is under way is done once for all who ask. */
export function shared<Given extends unknown[], T>(work: (...given: Given) => Promise<T>): typeof work {
  let running: Promise<T> | undefined;
  return (...given) =>
    (running ??= work(...given).finally(() => {
      running = undefined;
    }));
}
