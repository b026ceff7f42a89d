/** The address at which a sign-in starts: in problems, in the session view, in pages and in redirects. */
import type { Config } from '../config/config.ts';

/** @param query the parameters, encoded already */
export function loginUrl({ basePath }: Pick<Config, 'basePath'>, query = ''): string {
  return `${basePath}/login${query === '' ? '' : `?${query}`}`;
}
