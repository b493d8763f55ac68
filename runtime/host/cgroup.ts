/**
 * Limits of the kernel for each cell: memory and processes, in cgroups v1 or v2.
 *
 * C1 Everything lies below one directory of this platform's own, `isola-<host's pid>-<random>`,
 *    under the cgroup the host itself is in; other groups are never touched.
 * C2 A group that holds a process cannot be removed, and a process that was killed leaves its group
 *    some moments later. So whoever removes one waits for that, within a bound.
 * C3 What is left all the same, of a removal that gave up or of a host that was killed, the next
 *    host sweeps, if no process is in it any more.
 */
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { isAlive } from "./proc.ts";
import type { Timers } from "./system-timers.ts";

export interface CellLimits {
  readonly memoryMaxBytes: number;
  readonly processesMax: number;
}

/** Where groups can be made. `roots` holds one directory per controller for v1, one for v2. */
export type CgroupPlace =
  | { readonly version: 1; readonly memory: string | undefined; readonly pids: string | undefined }
  | { readonly version: 2; readonly root: string };

interface Mount {
  readonly kind: "cgroup" | "cgroup2";
  readonly path: string;
  readonly options: readonly string[];
}

/** Pure: mounts of cgroup file systems, from /proc/self/mounts. */
export function parseMounts(text: string): readonly Mount[] {
  return text.split("\n").flatMap((line): Mount[] => {
    const [, path = "", kind = "", options = ""] = line.split(" ");
    if (kind !== "cgroup" && kind !== "cgroup2") return [];
    return [{ kind, path, options: options.split(",") }];
  });
}

/** Pure: path of this process by controller, from /proc/self/cgroup; v2 under "". */
export function parseOwnGroups(text: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.trim().split("\n")) {
    const [, controllers = "", ...path] = line.split(":");
    for (const controller of controllers.split(",")) groups.set(controller, path.join(":"));
  }
  return groups;
}

const HOST_GROUP = /^isola-(\d+)-[0-9a-f]+$/;

function canMake(parent: string): boolean {
  const path = join(parent, `isola-probe-${process.pid}`);
  try {
    mkdirSync(path);
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Controllers that children of a v2 group get, turned on if that is allowed. */
function enableControllers(root: string): boolean {
  const wanted = ["memory", "pids"];
  const active = (): string[] =>
    readFileSync(join(root, "cgroup.subtree_control"), "utf8").trim().split(" ");
  try {
    if (wanted.every((name) => active().includes(name))) return true;
    // Fails where the host's own group holds processes: the kernel forbids both at once.
    writeFileSync(join(root, "cgroup.subtree_control"), wanted.map((name) => `+${name}`).join(" "));
    return active().includes("memory");
  } catch {
    return false;
  }
}

/** Finds where limits can be set; undefined if nowhere. */
export function findCgroupPlace(): CgroupPlace | undefined {
  let mounts: readonly Mount[];
  let own: ReadonlyMap<string, string>;
  try {
    mounts = parseMounts(readFileSync("/proc/self/mounts", "utf8"));
    own = parseOwnGroups(readFileSync("/proc/self/cgroup", "utf8"));
  } catch {
    return undefined;
  }
  const first = (controller: string): string | undefined => {
    const mount = mounts.find((m) => m.kind === "cgroup" && m.options.includes(controller));
    if (mount === undefined) return undefined;
    // In a container the path may name a group outside of what is mounted here.
    const paths = [join(mount.path, own.get(controller) ?? ""), mount.path];
    return paths.find((path) => existsSync(path) && canMake(path));
  };
  const [memory, pids] = [first("memory"), first("pids")];
  if (memory !== undefined) return { version: 1, memory, pids };
  const unified = mounts.find((mount) => mount.kind === "cgroup2");
  if (unified === undefined) return undefined;
  const root = join(unified.path, own.get("") ?? "");
  if (!existsSync(root) || !canMake(root) || !enableControllers(root)) return undefined;
  return { version: 2, root };
}

const rootsOf = (place: CgroupPlace): string[] =>
  place.version === 2
    ? [place.root]
    : [place.memory, place.pids].filter((path) => path !== undefined);

/** False while a process is still in it. */
function isRemoved(path: string): boolean {
  try {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) rmdirSync(join(path, entry.name));
    }
    rmdirSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Longest wait for the last process to leave a group, and time between two tries. */
const REMOVAL = { boundMs: 2_000, periodMs: 5 } as const;

/** Groups of one platform's cells. */
export class Cgroups {
  readonly #place: CgroupPlace;
  readonly #timers: Timers;
  readonly #name = `isola-${process.pid}-${randomBytes(4).toString("hex")}`;

  constructor(place: CgroupPlace, timers: Timers) {
    this.#place = place;
    this.#timers = timers;
  }

  /** Removes what hosts left that are no more (C3). */
  sweep(): void {
    for (const root of rootsOf(this.#place)) {
      for (const name of readdirSync(root)) {
        const pid = Number(HOST_GROUP.exec(name)?.[1]);
        if (pid > 0 && pid !== process.pid && !isAlive(pid)) isRemoved(join(root, name));
      }
    }
  }

  /**
   * Makes the group of a process and sets its limits; a limit that the system refuses is left out.
   *
   * @param group name that is unique in this process.
   */
  create(group: string, limits: CellLimits): void {
    const place = this.#place;
    for (const root of rootsOf(place)) mkdirSync(this.#path(root, group), { recursive: true });
    const swap = String(limits.memoryMaxBytes);
    if (place.version === 2) {
      const path = this.#path(place.root, group);
      const controllers = join(place.root, this.#name, "cgroup.subtree_control");
      tryWrite(controllers, "+memory +pids");
      tryWrite(join(path, "memory.max"), swap);
      tryWrite(join(path, "memory.swap.max"), "0");
      tryWrite(join(path, "pids.max"), String(limits.processesMax));
      return;
    }
    if (place.memory !== undefined) {
      const path = this.#path(place.memory, group);
      tryWrite(join(path, "memory.limit_in_bytes"), swap);
      tryWrite(join(path, "memory.memsw.limit_in_bytes"), swap);
    }
    if (place.pids !== undefined) {
      tryWrite(join(this.#path(place.pids, group), "pids.max"), String(limits.processesMax));
    }
  }

  /** Puts a process in; false if the system refused. */
  join(group: string, pid: number): boolean {
    return rootsOf(this.#place)
      .map((root) => tryWrite(join(this.#path(root, group), "cgroup.procs"), String(pid)))
      .every(Boolean);
  }

  /** Processes that the kernel killed in the group for want of memory. */
  oomKills(group: string): number {
    const place = this.#place;
    const root = place.version === 2 ? place.root : place.memory;
    if (root === undefined) return 0;
    const file = place.version === 2 ? "memory.events" : "memory.oom_control";
    try {
      const text = readFileSync(join(this.#path(root, group), file), "utf8");
      return Number(/^oom_kill (\d+)/m.exec(text)?.[1] ?? 0);
    } catch {
      return 0;
    }
  }

  /** Removes the group of a process that was ended (C2); false if it is still in use. */
  remove(group: string): Promise<boolean> {
    return this.#removeEach((root) => this.#path(root, group));
  }

  /** Removes everything that this platform made (C2); false if something is still in use. */
  removeAll(): Promise<boolean> {
    return this.#removeEach((root) => join(root, this.#name));
  }

  async #removeEach(pathIn: (root: string) => string): Promise<boolean> {
    const timers = this.#timers;
    const untilMs = timers.monotonicMs() + REMOVAL.boundMs;
    let paths = rootsOf(this.#place).map(pathIn);
    for (;;) {
      paths = paths.filter((path) => !isRemoved(path));
      if (paths.length === 0 || timers.monotonicMs() >= untilMs) return paths.length === 0;
      await timers.sleep(REMOVAL.periodMs);
    }
  }

  #path(root: string, group: string): string {
    return join(root, this.#name, group);
  }
}

function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text);
    return true;
  } catch {
    return false;
  }
}
