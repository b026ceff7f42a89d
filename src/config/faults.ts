/** Faults of a configuration: the error that holds all of them, and how the schema's issues become faults with a remedy. */
import type { z } from 'zod';
import { keyMeantBy } from './spelling.ts';

/** One thing that is wrong: where, why, and what to do. */
export interface ConfigFault {
  /** Dotted path of the key, e.g. `client.secret`. */
  readonly path: string;
  readonly reason: string;
}

/**
 * Thrown with all faults at once. Never holds a configured value that may be secret.
 *
 * @example
 * ```ts
 * import { ConfigError, createBff, type ConfigInput } from 'sallyport';
 *
 * export function pathsOfFaults(config: ConfigInput): readonly string[] {
 *   try {
 *     createBff(config);
 *   } catch (error) {
 *     if (error instanceof ConfigError) return error.faults.map(({ path }) => path);
 *     throw error;
 *   }
 *   return [];
 * }
 * ```
 */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[];
  /** The faults, each under the name by which it was given, and then what may be the cause. */
  readonly lines: readonly string[];

  /** @param warnings what may be the cause of a fault, such as a variable that is not known */
  constructor(
    faults: readonly ConfigFault[],
    nameOf: (path: string) => string = (path) => path,
    warnings: readonly string[] = [],
  ) {
    const named = faults.map((fault) => `${nameOf(fault.path)}: ${fault.reason}`);
    super(
      [
        `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:`,
        ...named.map((line) => `  - ${line}`),
        ...(warnings.length === 0 ? [] : ['This may be why:', ...warnings.map((warning) => `  - ${warning}`)]),
      ].join('\n'),
    );
    this.name = 'ConfigError';
    this.faults = faults;
    this.lines = [...named, ...warnings];
  }
}

const remedies: Readonly<Record<string, string>> = {
  origin: 'set the public origin of your app, e.g. SALLYPORT_ORIGIN=https://app.example.com',
  issuer: 'set the issuer of your identity provider, e.g. SALLYPORT_ISSUER=https://login.example.com',
  client: 'set SALLYPORT_CLIENT_ID and SALLYPORT_CLIENT_SECRET as the provider gave them to you',
  'client.id': 'set SALLYPORT_CLIENT_ID as the provider gave it to you',
  secrets: 'set SALLYPORT_SECRET (or SALLYPORT_SECRET_FILE) to the output of `sallyport keygen`',
};

/** The faults that the schema's issues stand for: one for each place. `value` is what was given under `key`. */
export function faultsOf(issues: readonly z.core.$ZodIssue[], key: string, value: unknown): ConfigFault[] {
  const faults = issues.flatMap((issue) => faultsOfIssue(issue, key, value));
  return faults.filter(({ path }, index) => faults.findIndex((fault) => fault.path === path) === index);
}

function faultsOfIssue(issue: z.core.$ZodIssue, key: string, value: unknown): ConfigFault[] {
  const path = [key, ...issue.path.map(String)];
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => ({ path: path.join('.'), reason: message }));
  }
  if (issue.code === 'invalid_union') {
    const meant = meantOption(issue);
    if (meant !== undefined) {
      return meant.flatMap((inner) => faultsOfIssue({ ...inner, path: [...issue.path, ...inner.path] }, key, value));
    }
  }
  if (issue.code === 'unrecognized_keys') return issue.keys.map((name) => unknownKey([...path, name]));
  const missing = issue.code === 'invalid_type' && valueAt(value, issue.path) === undefined;
  return [
    {
      path: path.join('.'),
      reason: missing ? `is missing: ${remedies[path.join('.')] ?? issue.message}` : issue.message,
    },
  ];
}

/** The issues of the one form whose keys were given, where what is wrong is inside. */
function meantOption({ errors }: z.core.$ZodIssueInvalidUnion): readonly z.core.$ZodIssue[] | undefined {
  const possible = errors.filter((issues) => issues.every(({ path }) => path.length > 0));
  return possible.length === 1 ? possible[0] : undefined;
}

export function unknownKey(path: readonly string[]): ConfigFault {
  const meant = keyMeantBy(path);
  const remedy =
    meant === undefined
      ? '; remove it or correct its spelling (`sallyport schema` lists all)'
      : `: did you mean "${meant}"?`;
  return { path: path.join('.'), reason: `is not a known key${remedy}` };
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((inner, key) => (inner instanceof Object ? Reflect.get(inner, key) : undefined), value);
}
