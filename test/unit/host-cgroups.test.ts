/** Groups of cells, with plain folders in the place of the kernel's: what is in use has a file. */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Cgroups, systemTimers } from "../../runtime/host/internal.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const LIMITS = { memoryMaxBytes: 1_000_000, processesMax: 10 };
/** A file of each limit that was set: a folder that holds one is as busy as a group in use. */
const IN_USE = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];

/** Time that passes by sleeping alone; `elapsed` sees each moment of it. */
function makeTimers(elapsed: (nowMs: number) => void): typeof systemTimers {
  let nowMs = 0;
  return {
    ...systemTimers,
    monotonicMs: () => nowMs,
    sleep: (delayMs) => {
      nowMs += delayMs;
      elapsed(nowMs);
      return Promise.resolve();
    },
  };
}

interface Made {
  readonly cgroups: Cgroups;
  readonly root: string;
  readonly own: string;
}

/** `leaveAtMs`: when the killed process of `cell` has left its group. */
function makeGroups(leaveAtMs: number): Made {
  const root = temporaryFolder();
  const ownFolder = (): string =>
    join(root, readdirSync(root).find((name) => name.startsWith(`isola-${process.pid}-`)) ?? "");
  const timers = makeTimers((nowMs) => {
    if (nowMs < leaveAtMs) return;
    for (const file of IN_USE) rmSync(join(ownFolder(), "cell", file), { force: true });
  });
  const cgroups = new Cgroups({ version: 1, memory: root, pids: undefined }, timers);
  cgroups.create("cell", LIMITS);
  return { cgroups, root, own: ownFolder() };
}

describe("cgroups of a platform", () => {
  it("are removed once the killed process has left (C2)", async () => {
    const { cgroups, root } = makeGroups(300);
    expect(await cgroups.removeAll()).toBe(true);
    expect(readdirSync(root)).toEqual([]);
  });

  it("of one cell go alone, and again without harm", async () => {
    const { cgroups, own } = makeGroups(50);
    expect(await cgroups.remove("cell")).toBe(true);
    expect(existsSync(own)).toBe(true);
    expect(await cgroups.remove("cell")).toBe(true);
  });

  it("stay after two seconds in use, and the next host sweeps them (C3)", async () => {
    const { cgroups, own, root } = makeGroups(Number.POSITIVE_INFINITY);
    expect(await cgroups.removeAll()).toBe(false);
    expect(existsSync(own)).toBe(true);
    // No process has a pid above the kernel's greatest one.
    const ofDead = join(root, `isola-${2 ** 22 + 1}-ab`);
    mkdirSync(join(ofDead, "cell-0-1"), { recursive: true });
    cgroups.sweep();
    expect(existsSync(ofDead)).toBe(false);
    expect(existsSync(own)).toBe(true);
  });
});
