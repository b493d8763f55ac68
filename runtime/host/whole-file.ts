/** Files that are either as they were or as they are meant to be, never half of each. */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { IsolaError } from "../contract/index.ts";

/** Replaces `path` by a file with `text`, on disk before it returns. */
export function writeWhole(path: string, text: string, mode: number): void {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    const file = openSync(draft, "w", mode);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/**
 * Puts on disk what another process has written, its name included.
 *
 * @throws IsolaError NOT_FOUND; DISK_FULL where the system finds no room for it only now.
 */
export async function syncFile(path: string): Promise<void> {
  const attempted = `put ${basename(path)} on disk`;
  try {
    for (const each of [path, dirname(path)]) {
      const file = await open(each, "r");
      await file.sync().finally(() => file.close());
    }
  } catch (error) {
    const { code = "UNKNOWN" } = error as NodeJS.ErrnoException;
    // Some file systems refuse to sync a directory; what is in it is whole.
    if (code === "EINVAL") return;
    const found = `${code} from the system`;
    if (code === "ENOENT") throw new IsolaError("NOT_FOUND", { attempted, found });
    if (code === "ENOSPC" || code === "EDQUOT") {
      throw new IsolaError("DISK_FULL", { attempted, found });
    }
    throw error;
  }
}

function syncDirectory(path: string): void {
  try {
    const directory = openSync(path, "r");
    fsyncSync(directory);
    closeSync(directory);
  } catch {
    // Some file systems refuse to sync a directory; the rename itself is whole.
  }
}

/** Text of a file, undefined if there is none. */
export function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
