/** A disk of its own, so small that a test can fill it. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  readonly folder: string;
  /** Why it cannot be had; undefined if it can. */
  readonly unmounted: string | undefined;
  freeBytes(): number;
  /** Writes until nothing is left, and answers the file to remove. */
  fill(): string;
  remove(): void;
}

export function smallDisk(sizeMb: number): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), "isola-disk-"));
  const unmounted = mount(folder, sizeMb);
  if (unmounted !== undefined) {
    process.stdout.write(`disk-full tests are skipped: no tmpfs can be mounted (${unmounted})\n`);
  }
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  return {
    folder,
    unmounted,
    freeBytes,
    fill: () => fill(join(folder, "filling"), freeBytes),
    remove: () => {
      if (unmounted === undefined) execFileSync("umount", ["-l", folder]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function mount(folder: string, sizeMb: number): string | undefined {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMb}m,mode=755`, "tmpfs", folder]);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function fill(path: string, freeBytes: () => number): string {
  const file = openSync(path, "a");
  try {
    while (freeBytes() > 0) writeSync(file, Buffer.alloc(4_096));
  } catch {
    // Full, which was the aim.
  } finally {
    closeSync(file);
  }
  return path;
}
