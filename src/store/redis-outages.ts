/** Reports why the store cannot be reached: once for each reason and outage, however many connections it concerns. */

export interface RedisOutages {
  /** @param link what has no connection */
  report(link: object, cause: Error): void;
  /** The link has a connection again. */
  end(link: object): void;
  /** The options of an error that tells of a link without a connection. */
  causeOf(link: object): ErrorOptions;
}

export function createRedisOutages(onError: (cause: Error) => void): RedisOutages {
  const outages = new Map<object, Map<string, Error>>();

  return {
    report(link, cause) {
      const isKnown = [...outages.values()].some((reasons) => reasons.has(cause.message));
      outages.set(link, (outages.get(link) ?? new Map<string, Error>()).set(cause.message, cause));
      if (!isKnown) onError(cause);
    },
    end: (link) => void outages.delete(link),
    causeOf: (link) => ({ cause: [...(outages.get(link)?.values() ?? [])].at(-1) }),
  };
}
