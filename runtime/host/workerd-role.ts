/** What is alike in all workerd processes: files, owners, command line. */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import type { ChildSpec } from "./child.ts";
import { type ConfigSpec, renderConfig } from "./capnp.ts";
import { MODULE_FILE } from "./config.ts";
import { type Identity, type ProcessName, identityOf } from "./layout.ts";
import { sandboxCommand } from "./sandbox.ts";
import type { Surroundings } from "./surroundings.ts";
import { readOptional, writeWhole } from "./whole-file.ts";

export interface WorkerdSpec {
  readonly name: ProcessName;
  readonly config: ConfigSpec;
  /** The worker's program. */
  readonly code: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Needs unix sockets only. */
  readonly withoutNetwork: boolean;
  readonly experimental: boolean;
  /** Sockets of the configuration whose descriptors are handed over, in order. */
  readonly inherited?: readonly { readonly name: string; readonly descriptor: number }[];
}

const FIRST_DESCRIPTOR = 3;

export function identityIn(around: Surroundings, name: ProcessName): Identity | undefined {
  const { users } = around.capabilities;
  return users === undefined ? undefined : identityOf(name, users);
}

/** Gives a tree to its process, if it belongs to somebody else: another run's users, or root. */
export function giveTree(path: string, owner: Identity | undefined): void {
  const stat = lstatSync(path);
  const [uid, gid] = owner === undefined ? OWN : [owner.uid, owner.gid];
  if (stat.uid !== uid) chownSync(path, uid, gid);
  if (!stat.isDirectory()) return;
  for (const entry of readdirSync(path)) giveTree(join(path, entry), owner);
}

const OWN = [process.getuid?.() ?? 0, process.getgid?.() ?? 0] as const;

/** Writes configuration and program, removes stale sockets, and says how to start. */
export function prepareWorkerd(
  spec: WorkerdSpec,
  around: Surroundings,
): Pick<ChildSpec, "command" | "environment" | "descriptors"> {
  const { layout } = around;
  const owner = identityIn(around, spec.name);
  const directory = layout.workerdDir(spec.name);
  mkdirSync(directory, { recursive: true });
  mkdirSync(layout.stateDir(spec.name), { recursive: true });
  giveTree(layout.stateDir(spec.name), owner);
  chmodSync(layout.stateDir(spec.name), 0o700);
  const own = (path: string, text: string, mode: number): void => {
    // A restart on a full disk writes nothing, so it succeeds.
    if (readOptional(path) !== text) writeWhole(path, text, mode);
    chmodSync(path, mode);
    if (owner !== undefined) chownSync(path, process.getuid?.() ?? 0, owner.gid);
  };
  own(layout.configFile(spec.name), renderConfig(spec.config), 0o640);
  own(join(directory, MODULE_FILE), spec.code, 0o640);
  if (owner !== undefined) chownSync(directory, process.getuid?.() ?? 0, owner.gid);
  chmodSync(directory, 0o750);
  makeLock(layout.stateLock(spec.name), owner);
  unlinkSockets(spec.config);
  const inherited = spec.inherited ?? [];
  const flags = inherited.flatMap(({ name }, at) => ["-S", `${name}=${FIRST_DESCRIPTOR + at}`]);
  const experimental = spec.experimental ? ["--experimental"] : [];
  const command = sandboxCommand({
    capabilities: around.capabilities,
    identity: owner,
    withoutNetwork: spec.withoutNetwork,
    lockFile: layout.stateLock(spec.name),
    hostPid: process.pid,
    command: [around.workerd, "serve", ...experimental, ...flags, layout.configFile(spec.name)],
  });
  return {
    command,
    environment: spec.environment,
    descriptors: inherited.map(({ descriptor }) => descriptor),
  };
}

function makeLock(path: string, owner: Identity | undefined): void {
  if (!existsSync(path)) writeWhole(path, "", 0o600);
  const [uid, gid] = owner === undefined ? OWN : [owner.uid, owner.gid];
  if (lstatSync(path).uid !== uid) chownSync(path, uid, gid);
}

/** workerd leaves its sockets behind and refuses to start where one lies. */
function unlinkSockets(config: ConfigSpec): void {
  for (const { address } of config.sockets) {
    if (address.startsWith("unix:")) rmSync(address.slice("unix:".length), { force: true });
  }
}
