/**
 * Bundles by hash, in the blobs directory.
 *
 * B1 A bundle is stored before a version names it and removed after the last one does not.
 * B2 A hash that any deploy has in hand is not removed: between storing and registering nobody
 *    names it.
 * B3 A deploy that answered survives a loss of power: the host puts the bundle on disk before a
 *    version names it, also one that another deploy has just written.
 * B4 What is read is hashed again: a damaged bundle is refused, not run.
 */
import { type Clock, IsolaError } from "../contract/index.ts";
import { sha256Hex } from "../registry/index.ts";
import type { RegistryClient } from "../registry/index.worker.ts";
import { storageError } from "./storage-failure.ts";

const BASE = "http://blobs/";
/** Says that a registry was here: an emptied one would otherwise look like a first start. */
const MARKER = "installation";
const HASH = /^[0-9a-f]{64}$/;
/** What a database needs to open: its index of the log (32 KiB) and a first page of it. */
const ROOM_BYTES = 65_536;
/** After this long a deploy that never ended no longer protects its bundle. */
const HELD_MS = 120_000;

export interface BundleStoreParts {
  readonly blobs: Fetcher;
  readonly registry: RegistryClient;
  readonly clock: Clock;
  readonly keep: (hash: string) => Promise<void>;
}

export class BundleStore {
  readonly #blobs: Fetcher;
  readonly #registry: RegistryClient;
  readonly #clock: Clock;
  readonly #keep: (hash: string) => Promise<void>;
  /** When each deploy that holds a hash no longer does. */
  readonly #held = new Map<string, number[]>();

  /** @param parts.keep puts what was written on disk (B3). */
  constructor(parts: BundleStoreParts) {
    this.#blobs = parts.blobs;
    this.#registry = parts.registry;
    this.#clock = parts.clock;
    this.#keep = parts.keep;
  }

  /**
   * Stores a bundle unless it is there; holds it until `letGo` (B2), once for each `put`.
   *
   * @throws IsolaError `DISK_FULL`; then nothing was stored.
   */
  async put(hash: string, text: string): Promise<void> {
    this.#held.set(hash, [...this.#holders(hash), this.#clock.now() + HELD_MS]);
    const known = await this.#send(hash, { method: "HEAD" });
    if (!known.ok) await this.#write(hash, text, "store the bundle");
    await this.#keep(hash);
  }

  letGo(hash: string): void {
    const others = this.#holders(hash).slice(1);
    if (others.length === 0) this.#held.delete(hash);
    else this.#held.set(hash, others);
  }

  #holders(hash: string): number[] {
    const nowMs = this.#clock.now();
    return (this.#held.get(hash) ?? []).filter((untilMs) => untilMs > nowMs);
  }

  /** JSON of a `Bundle`. Errors: `DATA_CORRUPT` (B4). */
  async text(hash: string): Promise<string> {
    const response = HASH.test(hash) ? await this.#send(hash, { method: "GET" }) : undefined;
    if (!response?.ok) {
      throw damaged(hash, "no such file");
    }
    const text = await response.text();
    if ((await sha256Hex(text)) !== hash) throw damaged(hash, "other content than its name says");
    return text;
  }

  /** Removes those that no version names and no deploy holds. Never throws. */
  async removeUnnamed(hashes: readonly string[]): Promise<void> {
    try {
      const unnamed = await this.#registry.read("unnamedBundles", { bundles: hashes });
      for (const hash of unnamed) {
        if (this.#holders(hash).length > 0) continue;
        const response = await this.#send(hash, { method: "DELETE" });
        await response.body?.cancel();
      }
    } catch {
      // What stays is swept at the next start.
    }
  }

  /** Removes what a crash left: bundles that were stored and never registered. */
  async sweep(): Promise<void> {
    try {
      const response = await this.#send("", { method: "GET" });
      if (!response.ok) return;
      const entries: unknown = await response.json();
      if (!Array.isArray(entries)) return;
      const hashes = entries
        .map((entry: { name?: unknown }) => String(entry.name))
        .filter((name) => HASH.test(name));
      if (hashes.length > 0) await this.removeUnnamed(hashes);
    } catch {
      // A store without a listing has nothing to sweep.
    }
  }

  /**
   * Compares the registry's identity with the one noted beside the bundles: a registry file that
   * was emptied opens as a new one.
   *
   * @throws IsolaError `DATA_CORRUPT`.
   */
  async checkInstallation(): Promise<void> {
    const { installation, file } = await this.#registry.read("installation", null);
    const noted = await this.#send(MARKER, { method: "GET" });
    const text = (await noted.text()).trim();
    if (!noted.ok) {
      await this.#write(MARKER, installation, "note the installation");
      return;
    }
    if (text === installation) return;
    throw new IsolaError("DATA_CORRUPT", {
      attempted: "open the registry",
      found: `${file} is damaged: it is not the registry that wrote the bundles beside it`,
      required: "the file as it was written",
      fix: `restore ${file} from a backup, or delete the data directory to start anew`,
    });
  }

  /** Does the disk take another file? Tried: the program is told no number. */
  async hasRoom(): Promise<boolean> {
    const name = `room-${crypto.randomUUID()}`;
    try {
      await this.#write(name, "0".repeat(ROOM_BYTES), "look for room");
      return true;
    } catch (thrown) {
      return !(thrown instanceof IsolaError && thrown.code === "DISK_FULL");
    } finally {
      const response = await this.#send(name, { method: "DELETE" });
      await response.body?.cancel();
    }
  }

  async #write(name: string, text: string, attempted: string): Promise<void> {
    let response: Response;
    try {
      response = await this.#send(name, { method: "PUT", body: text });
    } catch (thrown) {
      throw storageError(thrown, attempted, `blobs/${name}`);
    }
    await response.body?.cancel();
    if (response.ok) return;
    throw new IsolaError("INTERNAL", {
      attempted,
      found: `status ${response.status} from the blobs directory`,
    });
  }

  #send(name: string, init: RequestInit): Promise<Response> {
    return this.#blobs.fetch(BASE + name, init);
  }
}

function damaged(hash: string, found: string): IsolaError {
  return new IsolaError("DATA_CORRUPT", {
    attempted: "read a bundle",
    found: `blobs/${hash.slice(0, 64)} is damaged: ${found}`,
    required: "the file as it was written",
    fix: "deploy the function again",
  });
}
