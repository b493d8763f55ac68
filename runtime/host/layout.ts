/**
 * Where everything lies in the data directory, and who may open it.
 *
 * L1 A cell enters only `cell-<slot>/` (its own sockets), `supply-<slot>/`, `cold-<slot>/` and
 *    `egress/`; never `gateway/`, `cold/` (control) or `host/`. With users of their own the kernel
 *    holds this: directories are closed to others, and the group that is let in is the one peer's.
 * L2 Secrets (`admin-token`, the seal key, `logs/`) belong to the platform's own user alone.
 */
import { join } from "node:path";
import { PROBATION_SLOT } from "../contract/index.ts";

export type ProcessName = "gateway" | "egress" | "cold" | `cell-${number}`;

/** First user id of the platform's processes; each gets one of its own above it. */
export const DEFAULT_USER_BASE = 64_000;

/** Uids of the processes, when the platform may switch users. */
export interface Users {
  readonly base: number;
}

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

const GATEWAY_OFFSET = 100;
const EGRESS_OFFSET = 101;
const CELLS_GROUP_OFFSET = 102;
const COLD_OFFSET = 103;
const TRUSTED_OFFSETS = {
  gateway: GATEWAY_OFFSET,
  egress: EGRESS_OFFSET,
  cold: COLD_OFFSET,
} as const;

export function slotOf(name: ProcessName): number | undefined {
  return name.startsWith("cell-") ? Number(name.slice("cell-".length)) : undefined;
}

/** User and groups of a process. A cell is also in the group that may reach the egress. */
export function identityOf(name: ProcessName, users: Users): Identity {
  if (name !== "gateway" && name !== "egress" && name !== "cold") {
    const uid = users.base + (slotOf(name) ?? 0);
    return { uid, gid: uid, groups: [users.base + CELLS_GROUP_OFFSET] };
  }
  const uid = users.base + TRUSTED_OFFSETS[name];
  return { uid, gid: uid, groups: [] };
}

/** Files of a data directory (INTERFACE §8). */
export class Layout {
  readonly dataDir: string;
  /** Directory that sockets are named by: `run/`, or a short link to it. */
  readonly socketRoot: string;

  constructor(dataDir: string, socketRoot: string = join(dataDir, "run")) {
    this.dataDir = dataDir;
    this.socketRoot = socketRoot;
  }

  get tokenFile(): string {
    return join(this.dataDir, "admin-token");
  }
  get platformFile(): string {
    return join(this.dataDir, "platform.json");
  }
  get dedicatedFile(): string {
    return join(this.dataDir, "dedicated.json");
  }
  get blobsDir(): string {
    return join(this.dataDir, "blobs");
  }
  get logsDir(): string {
    return join(this.dataDir, "logs");
  }
  get runDir(): string {
    return join(this.dataDir, "run");
  }
  get lockFile(): string {
    return join(this.runDir, "platform.lock");
  }
  /** Pid and addresses of the running platform. */
  get pidFile(): string {
    return join(this.runDir, "platform.pid");
  }
  /** Processes that a platform started, for the one after it. */
  get processesFile(): string {
    return join(this.runDir, "processes.json");
  }
  workerdDir(name: ProcessName): string {
    return join(this.dataDir, "workerd", name);
  }
  configFile(name: ProcessName): string {
    return join(this.workerdDir(name), "config.capnp");
  }
  stateDir(name: ProcessName): string {
    return join(this.workerdDir(name), "state");
  }
  stateLock(name: ProcessName): string {
    return join(this.workerdDir(name), "lock");
  }
  log(name: string): string {
    return join(this.logsDir, `${name}.log`);
  }
  gatewayControl(): string {
    return join(this.socketRoot, "gateway", "control.sock");
  }
  supply(slot: number): string {
    return join(this.socketRoot, `supply-${String(slot)}`, "supply.sock");
  }
  cellCall(slot: number): string {
    return join(this.socketRoot, `cell-${String(slot)}`, "call.sock");
  }
  cellControl(slot: number): string {
    return join(this.socketRoot, `cell-${String(slot)}`, "control.sock");
  }
  egress(): string {
    return join(this.socketRoot, "egress", "egress.sock");
  }
  cold(slot: number): string {
    return join(this.socketRoot, `cold-${String(slot)}`, "cold.sock");
  }
  /** Where the host asks the cold tier's process whether it serves. */
  coldControl(): string {
    return join(this.socketRoot, "cold", "control.sock");
  }
  /** In the host's own folder: nobody else opens it by name. */
  outputPipe(name: ProcessName): string {
    return join(this.runDir, "host", `${name}.out`);
  }
  host(): string {
    return join(this.socketRoot, "host", "host.sock");
  }
}

/** All slots that the gateway's configuration names. */
export function allSlots(cellSlots: number): readonly number[] {
  return [...Array.from({ length: cellSlots }, (_, slot) => slot), PROBATION_SLOT];
}

/** A directory as it must be before a process starts; ids undefined = the platform's own. */
export interface DirectoryRule {
  readonly path: string;
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
}

const SET_GROUP = 0o2000;

/** Directories of the sockets (L1). */
export function socketDirectories(
  layout: Layout,
  slots: readonly number[],
  users: Users | undefined,
): readonly DirectoryRule[] {
  const at = (name: string): string => join(layout.runDir, name);
  if (users === undefined) {
    const names = ["gateway", "egress", "cold", "host"];
    const perSlot = slots.flatMap((slot) =>
      ["cell", "supply", "cold"].map((name) => `${name}-${String(slot)}`),
    );
    return [...names, ...perSlot].map((name) => ({ path: at(name), mode: 0o700 }));
  }
  const gateway = identityOf("gateway", users);
  const egress = identityOf("egress", users);
  const cold = identityOf("cold", users);
  // Sockets take the directory's group, so the one peer named here can connect and nobody else.
  const mode = SET_GROUP | 0o710;
  return [
    { path: at("gateway"), mode: 0o700, uid: gateway.uid, gid: gateway.gid },
    { path: at("egress"), mode, uid: egress.uid, gid: users.base + CELLS_GROUP_OFFSET },
    { path: at("cold"), mode: 0o700, uid: cold.uid, gid: cold.gid },
    { path: at("host"), mode, gid: gateway.gid },
    ...slots.flatMap((slot) => {
      const cell = identityOf(`cell-${slot}`, users);
      return [
        { path: at(`cell-${String(slot)}`), mode, uid: cell.uid, gid: gateway.gid },
        { path: at(`supply-${String(slot)}`), mode, uid: gateway.uid, gid: cell.gid },
        { path: at(`cold-${String(slot)}`), mode, uid: cold.uid, gid: cell.gid },
      ];
    }),
  ];
}
