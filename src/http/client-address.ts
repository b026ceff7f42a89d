/** The client's address: the connection's peer, or what the operator's own proxies report (`X-Forwarded-For`). */
import { BlockList, isIP } from 'node:net';

/** The address of the client, and the proxies that the request passed. */
export interface ClientAddress {
  readonly address: string;
  /** The value of `X-Forwarded-For` for the upstream. */
  readonly chain: string;
}

export type ClientAddressResolver = ReturnType<typeof createClientAddressResolver>;

/** Trusts `X-Forwarded-For` from the configured proxies only, because any other client can write what it likes there. */
export function createClientAddressResolver(trustedProxies: readonly string[]) {
  const trusted = new BlockList();
  for (const entry of trustedProxies) {
    const [address = '', prefix] = entry.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) trusted.addAddress(address, family);
    else trusted.addSubnet(address, Number(prefix), family);
  }
  const isTrusted = (address: string) =>
    isIP(address) !== 0 && trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  return (peer: string | undefined, forwarded: string | string[] | undefined): ClientAddress => {
    const address = plainAddress(peer ?? '');
    if (trustedProxies.length === 0 || forwarded === undefined || !isTrusted(address))
      return { address, chain: address };
    const hops = String(forwarded)
      .split(',')
      .map((hop) => plainAddress(hop.trim()));
    // From the right: the first hop that is no trusted proxy is the client; what is left of it, the client has written.
    const at = hops.findLastIndex((hop) => !isTrusted(hop));
    const kept = hops.slice(Math.max(0, at)).filter((hop) => isIP(hop) !== 0);
    return { address: kept[0] ?? address, chain: [...kept, address].join(', ') };
  };
}

function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
