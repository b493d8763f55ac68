/**
 * The command line under which a process of the platform runs, from what the system can do. Pure.
 * Each step replaces itself by the next one, so the process keeps one pid from spawn to exit.
 */
import { type Capabilities, WITHOUT_PRIVILEGES } from "./capabilities.ts";
import type { Identity } from "./layout.ts";

export interface SandboxRequest {
  readonly capabilities: Capabilities;
  readonly identity: Identity | undefined;
  /** True for processes that need unix sockets only. */
  readonly withoutNetwork: boolean;
  /** File that the process locks for its life. */
  readonly lockFile: string;
  readonly hostPid: number;
  readonly command: readonly string[];
}

/**
 * A host that died before the death signal was set would go unnoticed; whoever finds another
 * parent then does not start at all. And a crash writes no file: a cell's memory holds secrets.
 */
const CHECK_PARENT = 'ulimit -c 0; test "$PPID" = "$0" && exec "$@"';

export function sandboxCommand(request: SandboxRequest): readonly string[] {
  const { capabilities } = request;
  const network = request.withoutNetwork ? (capabilities.emptyNetwork ?? []) : [];
  const { setpriv, flock } = capabilities;
  const check = ["/bin/sh", "-c", CHECK_PARENT, String(request.hostPid)];
  const drop = ["--pdeathsig", "KILL", "--no-new-privs", ...userFlags(request), "--"];
  const privileges = setpriv === undefined ? [] : [setpriv, ...drop, ...check];
  const lock = flock === undefined ? [] : [flock, "-n", "-F", request.lockFile];
  return [...network, ...privileges, ...lock, ...request.command];
}

function userFlags({ capabilities, identity }: SandboxRequest): readonly string[] {
  if (identity === undefined) return capabilities.dropsPrivileges ? WITHOUT_PRIVILEGES : [];
  const { uid, gid, groups } = identity;
  const others = groups.length === 0 ? ["--clear-groups"] : ["--groups", groups.join(",")];
  return ["--reuid", String(uid), "--regid", String(gid), ...others];
}
