/**
 * The import matrix: who may import whom. ARCHITECTURE.md shows it as a table; a test compares
 * the two. A file belongs to the room with the longest matching path.
 */

interface Room {
  /** Rooms whose index it may import, besides its own files. */
  readonly imports: readonly string[];
  /** `any`: may import every room; for tests. */
  readonly reach?: "any";
  /** Rooms whose bundled text it may embed (`?bundle`), without linking to them. */
  readonly embeds?: readonly string[];
  /** Folders directly in it know the room's own files, never each other. */
  readonly hasSeparateFolders?: true;
  /** Has no index: each of its files is an entry by itself. */
  readonly isOpen?: true;
}

export const ROOMS: Readonly<Record<string, Room>> = {
  "runtime/contract": { imports: [] },
  "runtime/sdk": { imports: ["runtime/contract", "workflow/builder"] },
  "runtime/client": { imports: ["runtime/contract"] },
  "runtime/gateway": { imports: ["runtime/contract", "runtime/registry", "runtime/telemetry"] },
  "runtime/registry": { imports: ["runtime/contract"] },
  // The SDK's types: the shim gives tenants what the SDK promises them.
  "runtime/cell": {
    imports: [
      "runtime/contract",
      "runtime/sdk",
      "workflow",
      "workflow/builder",
      "store",
      "runtime/telemetry",
    ],
    embeds: ["runtime/sdk"],
  },
  "runtime/collapsed": { imports: ["runtime/gateway", "runtime/cell"] },
  "runtime/backends": { imports: ["runtime/contract"], hasSeparateFolders: true },
  "runtime/host": { imports: ["runtime/contract", "runtime/backends"] },
  "runtime/cli": { imports: ["runtime/contract", "runtime/client", "runtime/host"] },
  "runtime/telemetry": { imports: ["runtime/contract"] },
  "runtime/dashboard": { imports: [] },
  workflow: { imports: ["runtime/contract", "workflow/builder"] },
  "workflow/builder": { imports: ["runtime/contract"] },
  store: { imports: ["runtime/contract"] },
  functions: { imports: ["runtime/sdk"], isOpen: true },
  // Starts a platform and talks to it as any user would; not a function.
  "functions/demo": { imports: ["runtime/client", "functions"], isOpen: true },
  bench: { imports: ["runtime/contract", "runtime/client", "bench/fixtures"] },
  // Deployed by the benchmarks: functions like any other.
  "bench/fixtures": { imports: ["runtime/sdk"] },
  test: { imports: [], reach: "any" },
};

/** Rooms that run in Node, where `node:` is at home. The others run in workerd or in both. */
export const NODE_ROOMS: readonly string[] = [
  "runtime/backends",
  "runtime/host",
  "runtime/cli",
  "functions/demo",
  "bench",
  "test",
];

/** `node:` modules that workerd provides itself, and why one is used there. */
export const NODE_MODULES_IN_WORKERS: Readonly<Record<string, string>> = {
  "node:async_hooks": "AsyncLocalStorage: the call scope of code that was handed no context",
};

/** The room of a path, or undefined for files at the root. */
export function roomOf(path: string): string | undefined {
  const rooms = Object.keys(ROOMS).filter((room) => path === room || path.startsWith(`${room}/`));
  return rooms.sort((a, b) => b.length - a.length)[0];
}
