/** Tells of changed files in a set of folders, in batches. */
import { type FSWatcher, watch } from "node:fs";
import { join } from "node:path";

/** Saves come as several events: what follows within this time belongs together. */
const QUIET_MS = 20;

export class FileWatcher {
  readonly #onChange: (paths: readonly string[]) => void;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #changed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(onChange: (paths: readonly string[]) => void) {
    this.#onChange = onChange;
  }

  /** Watches these folders and no others; those that do not exist are left out. */
  setFolders(folders: ReadonlySet<string>): void {
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (!this.#watchers.has(folder)) this.#open(folder);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.setFolders(new Set());
  }

  #open(folder: string): void {
    try {
      const watcher = watch(folder, (_event, name) => {
        if (name !== null) this.#note(join(folder, name));
      });
      const drop = (): void => {
        watcher.close();
        this.#watchers.delete(folder);
      };
      watcher.on("error", drop);
      this.#watchers.set(folder, watcher);
    } catch {
      // A folder that went away meanwhile: its parent tells of its return.
    }
  }

  #note(path: string): void {
    this.#changed.add(path);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const paths = [...this.#changed];
      this.#changed.clear();
      this.#onChange(paths);
    }, QUIET_MS);
  }
}
