/**
 * How the provider tells of sign-outs, by what it says of itself (Back-Channel Logout 1.0, 2.1; Front-Channel Logout 1.0,
 * 3), and what an operator does about it: for `sallyport check`.
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';

/** What to register with the provider, or why not, a line each. */
export function logoutChannels(metadata: ServerMetadata, config: Config): string[] {
  const { backchannel, frontchannel } = config.logout;
  return [
    ...(backchannel === false ? [] : [backchannelAdvice(metadata, config)]),
    ...(frontchannel ? [`and front-channel logout URI ${addressOf('frontchannel-logout', config)}`] : []),
  ];
}

function backchannelAdvice(metadata: ServerMetadata, config: Config): string {
  if (metadata.backchannel_logout_supported !== true) {
    const other =
      metadata.frontchannel_logout_supported === true && !config.logout.frontchannel
        ? 'it offers front-channel logout, which SALLYPORT_LOGOUT_FRONTCHANNEL=true takes'
        : 'who signs out there stays signed in here until the next refresh';
    return `it does not say that it offers back-channel logout: ${other}`;
  }
  const notes = [
    ...(metadata.backchannel_logout_session_supported === true
      ? []
      : ['it names no sessions: a sign-out there ends all of the person']),
    ...(config.redisUrl === undefined ? ['without SALLYPORT_REDIS_URL this reaches one process only'] : []),
  ];
  const address = `and back-channel logout URI ${addressOf('backchannel-logout', config)}`;
  return notes.length === 0 ? address : `${address} (${notes.join('; ')})`;
}

/** Without `iss` and `sid` a front-channel logout ends nothing, because no cookie comes with it. */
export function frontchannelWarning(metadata: ServerMetadata, { logout }: Config): string | undefined {
  if (!logout.frontchannel || metadata.frontchannel_logout_session_supported === true) return undefined;
  return 'logout.frontchannel is on, but the provider does not say that it sends iss and sid with a front-channel logout (frontchannel_logout_session_supported): without them it ends nothing.';
}

function addressOf(endpoint: string, { origin, basePath }: Config): string {
  return `${origin}${basePath}/${endpoint}`;
}
