/**
 * What this system lets the platform do to contain its processes. Tried once, never assumed: each
 * entry is there because the very thing was done and worked (DESIGN §8).
 */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type CgroupPlace, findCgroupPlace } from "./cgroup.ts";
import { DEFAULT_USER_BASE, type Users } from "./layout.ts";

export interface Capabilities {
  /** util-linux's setpriv, with --pdeathsig: children die with the host, whatever ends it. */
  readonly setpriv: string | undefined;
  /** A lock on the state directory that the process itself holds. */
  readonly flock: string | undefined;
  /** Command that starts a process in an empty network of its own. */
  readonly emptyNetwork: readonly string[] | undefined;
  /** Users of their own for every process; needs root. */
  readonly users: Users | undefined;
  /** Root may give up its privileges: for processes that must stay root, for want of `users`. */
  readonly dropsPrivileges: boolean;
  readonly cgroups: CgroupPlace | undefined;
}

export const NO_CAPABILITIES: Capabilities = {
  setpriv: undefined,
  flock: undefined,
  emptyNetwork: undefined,
  users: undefined,
  dropsPrivileges: false,
  cgroups: undefined,
};

/** Flags of setpriv after which even root is an ordinary user. */
export const WITHOUT_PRIVILEGES = ["--inh-caps", "-all", "--bounding-set", "-all"] as const;

const PROBE_BOUND_MS = 3_000;
/** Where system tools lie even if PATH is narrow. */
const SYSTEM_PATHS = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
];

/** Absolute path of a program, or undefined. */
export function findProgram(name: string): string | undefined {
  const paths = [...(process.env["PATH"] ?? "").split(delimiter), ...SYSTEM_PATHS];
  return paths
    .filter((path) => path !== "")
    .map((path) => join(path, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** True if the command ends with status 0 within the bound. */
export function works(command: readonly string[], boundMs = PROBE_BOUND_MS): Promise<boolean> {
  const [file, ...args] = command;
  if (file === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    execFile(file, args, { timeout: boundMs, killSignal: "SIGKILL" }, (error) => {
      resolve(error === null);
    });
  });
}

async function findEmptyNetwork(trueProgram: string): Promise<readonly string[] | undefined> {
  const unshare = findProgram("unshare");
  if (unshare === undefined) return undefined;
  // Root may; others need a user namespace of their own, which some systems refuse.
  for (const flags of [["--net"], ["--user", "--map-current-user", "--net"]]) {
    const command = [unshare, ...flags, "--"];
    if (await works([...command, trueProgram])) return command;
  }
  return undefined;
}

export interface CapabilityQuestion {
  /** Directory and program that the processes' users must be able to reach. */
  readonly reachable: readonly string[];
  readonly userBase?: number;
}

/** Users of their own, if we are root and these users get to what they need. */
async function findUsers(
  setpriv: string | undefined,
  { reachable, userBase = DEFAULT_USER_BASE }: CapabilityQuestion,
): Promise<Users | undefined> {
  if (setpriv === undefined || process.getuid?.() !== 0) return undefined;
  const id = String(userBase);
  const drop = [setpriv, "--reuid", id, "--regid", id, "--clear-groups", "--"];
  const test = findProgram("test");
  if (test === undefined) return undefined;
  const answers = await Promise.all(reachable.map((path) => works([...drop, test, "-x", path])));
  return answers.every(Boolean) ? { base: userBase } : undefined;
}

export async function findCapabilities(question: CapabilityQuestion): Promise<Capabilities> {
  const trueProgram = findProgram("true") ?? "/bin/true";
  const setpriv = findProgram("setpriv");
  const flock = findProgram("flock");
  const drop = ["--pdeathsig", "KILL", "--no-new-privs", "--"];
  const isRoot = process.getuid?.() === 0;
  const [dies, locks, emptyNetwork, drops] = await Promise.all([
    setpriv === undefined ? false : works([setpriv, ...drop, trueProgram]),
    flock === undefined ? false : works([flock, "-n", "-F", "/", trueProgram]),
    findEmptyNetwork(trueProgram),
    isRoot && setpriv !== undefined
      ? works([setpriv, ...WITHOUT_PRIVILEGES, "--", trueProgram])
      : false,
  ]);
  const usable = dies ? setpriv : undefined;
  return {
    setpriv: usable,
    flock: locks ? flock : undefined,
    emptyNetwork,
    users: await findUsers(usable, question),
    dropsPrivileges: drops,
    cgroups: findCgroupPlace(),
  };
}
