/** The slot of a key: CRC-16/XMODEM of what is between its first braces, else of all (Redis Cluster specification). */

export const slotCount = 16_384;

export function slotOf(key: string): number {
  const tag = /^[^{]*\{([^}]+)\}/.exec(key);
  let crc = 0;
  for (const byte of Buffer.from(tag?.[1] ?? key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return (crc & 0xffff) % slotCount;
}
