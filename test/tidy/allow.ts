/** Exceptions to rules, by file, each with the reason. Everything here is a debt or an adapter. */

type Allowed = Readonly<Record<string, string>>;

/**
 * May read the clock, draw random numbers and set timers. Adapters named `system-*.ts` may
 * always: they exist to be replaced in tests.
 */
export const MAY_USE_CLOCK_AND_CHANCE: Allowed = {
  "runtime/contract/clock.ts": "the adapter itself: what everybody else is handed",
  "runtime/gateway/system-timers.worker.ts": "the gateway's adapter",
  "runtime/cell/system-timers.worker.ts": "the cell's adapter",
  "runtime/cell/shim/natives.worker.ts": "what the shim takes of the isolate before a tenant can",
  "runtime/cli/": "talks to a person, whose clock it is",
  "runtime/host/build.ts": "a build script",
};

/** May throw a bare Error. */
export const MAY_THROW_BARE_ERRORS: Allowed = {
  "runtime/contract/errors.ts": "defines the errors of the platform",
  "runtime/contract/assert.ts": "a broken invariant is a defect, not an answer to a caller",
  "runtime/cell/shim/cloudflare-errors.ts": "names and texts of another API, for its users",
  "runtime/host/build.ts": "a build script: it runs before there is a platform",
};

/** May export by default, besides entries, functions and configurations. */
export const MAY_EXPORT_DEFAULT: Allowed = {
  "runtime/gateway/egress.worker.ts": "the entry of the egress worker",
  "runtime/gateway/cold.worker.ts": "the entry of the cold tier's worker",
};

/** READMEs that are reference documents and so may be longer than 20 lines. */
export const LONG_READMES: Allowed = {
  "README.md": "the front page",
  "store/README.md": "maps every operation of Pocket, Olric and faas-flow to ours",
  "workflow/README.md": "maps every operation of faas-flow to ours",
};

/** The reason a path is allowed; a key that ends with `/` covers a folder. */
export function isAllowed(list: Allowed, path: string): boolean {
  return Object.keys(list).some((key) => (key.endsWith("/") ? path.startsWith(key) : path === key));
}
