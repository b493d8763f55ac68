/** A disk without a byte left: what runs goes on, and what dies comes back. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { startPlatform } from "../../runtime/host/index.ts";
import { processesOf } from "../support/process-list.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

/** A small disk of its own; takes the right to mount. */
function mountSmallDisk(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function fill(path: string): void {
  const file = openSync(join(path, "fill"), "w");
  try {
    for (;;) writeSync(file, Buffer.alloc(4_096));
  } catch {
    closeSync(file);
  }
}

describe("a full disk", () => {
  it("does not keep a dead gateway or cell from coming back", async ({ skip }) => {
    const disk = temporaryFolder();
    if (!mountSmallDisk(disk)) skip("no right to mount a small disk");
    onTestFinished(() => void execFileSync("umount", ["--lazy", disk]));
    const dataDir = join(disk, "data");
    const platform = await startPlatform({ dataDir, port: 0, adminPort: 0, cells: 1 });
    onTestFinished(() => platform.stop());
    fill(disk);
    expect(statfsSync(disk).bavail).toBe(0);
    const names = ["gateway", "cell-0"];
    const pidsOf = (): number[] =>
      names.flatMap((name) => processesOf(`${dataDir}/workerd/${name}/`));
    const before = pidsOf();
    expect(before).toHaveLength(2);
    for (const pid of before) process.kill(pid, "SIGKILL");
    await until(async () => {
      const answer = await fetch(`${platform.publicUrl}/readyz`).catch(() => undefined);
      const cell = platform.cells().find(({ slot }) => slot === 0);
      return answer?.status === 200 && cell?.state === "up" && cell.restarts === 1;
    });
    expect(pidsOf().filter((pid) => before.includes(pid))).toEqual([]);
  });
});
