/**
 * Which addresses a function may call: the policy in text. Pure.
 *
 * N1 What a name resolves to is not decided here but by the network service, after resolution:
 *    so a name that changes its address between two looks (rebinding) gains nothing.
 * N2 What is decided here is decided before any packet: hosts and ports of an allow-list, and
 *    addresses written into the URL, in every spelling that the URL standard knows.
 */
import type { Egress } from "../contract/index.ts";

/** Why a target is refused; undefined if it is not. */
export type Refusal = { readonly found: string; readonly required: string } | undefined;

interface Range {
  readonly bytes: readonly number[];
  readonly prefixBits: number;
}

/** Addresses that are not on the public Internet. */
const NOT_PUBLIC = (
  "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 " +
  "192.168.0.0/16 198.18.0.0/15 224.0.0.0/3 " +
  "::/127 fc00::/7 fe80::/10 fec0::/10 ff00::/8 100::/64"
)
  .split(" ")
  .flatMap((text) => parseRange(text) ?? []);

/** IPv6 prefixes that carry an IPv4 address, and where in the 16 bytes it stands. */
const EMBEDDED: readonly { range: string; at: number }[] = [
  { range: "::ffff:0:0/96", at: 12 },
  { range: "::/96", at: 12 },
  { range: "64:ff9b::/96", at: 12 },
  { range: "64:ff9b:1::/48", at: 12 },
  { range: "2002::/16", at: 2 },
];

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

function groupsOf(part: string): string[] {
  return part === "" ? [] : part.split(":");
}

function parseIpv6(text: string): number[] | undefined {
  let canonical = text;
  try {
    // The URL parser knows all spellings, dotted tails included.
    canonical = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return undefined;
  }
  const [head = "", tail] = canonical.split("::");
  const [before, after] = [groupsOf(head), groupsOf(tail ?? "")];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}

/** Bytes of an address in text, with or without brackets; undefined for names. */
export function parseAddress(host: string): number[] | undefined {
  const bare = host.startsWith("[") ? host.slice(1, -1) : host;
  return bare.includes(":") ? parseIpv6(bare) : parseIpv4(bare);
}

export function parseRange(text: string): Range | undefined {
  const [address = "", bits = ""] = text.split("/");
  const bytes = parseAddress(address);
  return bytes === undefined ? undefined : { bytes, prefixBits: Number(bits) };
}

function contains(range: Range, address: readonly number[]): boolean {
  if (range.bytes.length !== address.length) return false;
  for (let bit = 0; bit < range.prefixBits; bit += 8) {
    const kept = Math.min(8, range.prefixBits - bit);
    const mask = (0xff << (8 - kept)) & 0xff;
    const at = bit / 8;
    if (((range.bytes[at] ?? 0) & mask) !== ((address[at] ?? 0) & mask)) return false;
  }
  return true;
}

/** The address itself, and the IPv4 address that it carries, if it does. */
function meanings(address: readonly number[]): readonly (readonly number[])[] {
  const carried = EMBEDDED.filter(({ range }) => {
    const parsed = parseRange(range);
    return parsed !== undefined && contains(parsed, address);
  });
  return [address, ...carried.map(({ at }) => address.slice(at, at + 4))];
}

/** Refuses addresses that are not public, unless the operator let them through. */
function refuseAddress(host: string, allowPrivate: readonly string[]): Refusal {
  const address = parseAddress(host);
  const allowed = allowPrivate.flatMap((text) => parseRange(text) ?? []);
  const required = "a public address, or one that the operator allows with --allow-private";
  if (address === undefined) {
    const isLocal = host === "localhost" || host.endsWith(".localhost");
    const loopback = [[127, 0, 0, 1], parseIpv6("::1") ?? []];
    const isAllowed = loopback.some((bytes) => allowed.some((range) => contains(range, bytes)));
    return isLocal && !isAllowed ? { found: `the local name ${host}`, required } : undefined;
  }
  const all = meanings(address);
  if (all.some((bytes) => allowed.some((range) => contains(range, bytes)))) return undefined;
  const closed = all.some((bytes) => NOT_PUBLIC.some((range) => contains(range, bytes)));
  return closed ? { found: `the address ${host}`, required } : undefined;
}

/** True if `pattern` (`host`, `*.host`, either with `:port`) names the target; no port = any. */
export function matchesHost(pattern: string, host: string, port: string): boolean {
  const [, name = "", wantedPort] = /^(.*?)(?::(\d+))?$/.exec(pattern.toLowerCase()) ?? [];
  if (wantedPort !== undefined && wantedPort !== port) return false;
  if (name.startsWith("*.")) return host.endsWith(name.slice(1)) && host.length > name.length - 1;
  return host === name;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };

export function refuseTarget(
  target: URL,
  policy: Egress,
  allowPrivate: readonly string[],
): Refusal {
  const defaultPort = DEFAULT_PORTS[target.protocol];
  if (defaultPort === undefined) {
    return { found: `the protocol ${target.protocol}`, required: "http or https" };
  }
  // A name with a dot at its end is the same name.
  const host = target.hostname.toLowerCase().replace(/\.$/, "");
  const port = target.port === "" ? defaultPort : target.port;
  if (policy === "none") return { found: `${host}:${port}`, required: "no call at all" };
  if (policy !== "public" && !policy.some((pattern) => matchesHost(pattern, host, port))) {
    return { found: `${host}:${port}`, required: `one of ${policy.join(", ") || "no hosts"}` };
  }
  return refuseAddress(host, allowPrivate);
}
