/** Where a request came from: the connection's peer, or what the operator's own proxies say of it. */
import { BlockList, isIP } from 'node:net';

/** Where a request really came from. */
export interface ClientAddress {
  readonly address: string;
  /** What is to be sent upstream as `X-Forwarded-For`. */
  readonly chain: string;
}

/**
 * Reads forwarded headers from the configured proxies only: from anybody else they are that stranger's own words.
 */
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
    // From the right: the first hop that isn't one of our proxies is the client, all before it is its own claim.
    const at = hops.findLastIndex((hop) => !isTrusted(hop));
    const kept = hops.slice(Math.max(0, at)).filter((hop) => isIP(hop) !== 0);
    return { address: kept[0] ?? address, chain: [...kept, address].join(', ') };
  };
}

function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
