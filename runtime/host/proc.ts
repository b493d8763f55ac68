/** What Linux tells of processes: pure readers of /proc text, and one adapter that reads it. */
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";

/** Clock ticks of /proc are hundredths of a second on every Linux that Node supports. */
const TICK_MS = 10;

export interface ThreadStat {
  readonly state: string;
  readonly cpuMs: number;
  /** Ticks since boot at which it started: with the pid it names a process for good. */
  readonly startTicks: string;
}

/** Parses /proc/<pid>/stat, whose second field may hold anything in parentheses. */
export function parseStat(text: string): ThreadStat | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, userTicks, systemTicks, startTicks] = [0, 11, 12, 19].map((at) => fields[at]);
  if (state === undefined || startTicks === undefined) return undefined;
  return { state, cpuMs: (Number(userTicks) + Number(systemTicks)) * TICK_MS, startTicks };
}

export interface MemoryUse {
  readonly residentBytes: number;
  /** Without what the kernel can drop or share: pages of files. */
  readonly anonymousBytes: number;
}

/** Parses /proc/<pid>/status. */
export function parseMemory(text: string): MemoryUse {
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
  const anonymous = kibibytes("RssAnon") + kibibytes("RssShmem");
  return { residentBytes: kibibytes("VmRSS") * 1_024, anonymousBytes: anonymous * 1_024 };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Gone, or no Linux.
    return undefined;
  }
}

/** The main thread, which in workerd is the one that runs JavaScript. */
export function readMainThread(pid: number): ThreadStat | undefined {
  const text = read(`/proc/${pid}/task/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

export function readProcess(pid: number): ThreadStat | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

export function readMemory(pid: number): MemoryUse | undefined {
  const text = read(`/proc/${pid}/status`);
  return text === undefined ? undefined : parseMemory(text);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Remote ends of connections to `localPort` whose client has closed its side (CLOSE_WAIT). */
export function parseHalfClosed(text: string, localPort: number): string[] {
  const suffix = `:${localPort.toString(16).toUpperCase().padStart(4, "0")}`;
  const clients: string[] = [];
  for (const line of text.split("\n").slice(1)) {
    const [, local, remote, state] = line.trim().split(/\s+/);
    if (state !== CLOSE_WAIT || remote === undefined || !local?.endsWith(suffix)) continue;
    const client = decodeAddress(remote);
    if (client !== undefined) clients.push(client);
  }
  return clients;
}

const CLOSE_WAIT = "08";

/** `0100007F:1F90` → `127.0.0.1:8080`; IPv6 in the form of inet_ntop, in brackets. */
export function decodeAddress(hex: string): string | undefined {
  const [address = "", port = ""] = hex.split(":");
  const bytes = Buffer.alloc(address.length / 2);
  // Each group of four bytes is a number of this machine, which is little-endian.
  for (let at = 0; at < bytes.length; at += 4) {
    bytes.writeUInt32LE(Number.parseInt(address.slice(at * 2, at * 2 + 8), 16), at);
  }
  const portNumber = Number.parseInt(port, 16);
  if (bytes.length === 4) return `${bytes.join(".")}:${portNumber}`;
  return bytes.length === 16 ? `[${formatIpv6(bytes)}]:${portNumber}` : undefined;
}

function formatIpv6(bytes: Buffer): string {
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes.readUInt16BE(10);
  if (mapped === 0xffff) return `::ffff:${bytes.subarray(12).join(".")}`;
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  // The URL parser writes the canonical short form.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** Clients of a listener; milliseconds of work, whatever their number. */
export function readHalfClosed(host: string, localPort: number): string[] {
  // A listener for both families shows all its clients as those of IPv6.
  const text = read(isIPv4(host) ? "/proc/net/tcp" : "/proc/net/tcp6");
  return text === undefined ? [] : parseHalfClosed(text, localPort);
}
