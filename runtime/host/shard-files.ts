/**
 * Where the shards' files lie, and their way to another cell.
 *
 * Each cell has a state directory of its own, and shard s belongs to cell s mod N. When N changes
 * the files of the shards that changed hands are moved while no cell runs.
 *
 * M1 Files move by rename within the data directory: a shard is never in two places, and nothing
 *    is copied. The write-ahead log goes first, the database last; a start that was interrupted in
 *    between finds the database where it was and moves the rest.
 * M2 A shard found in two cells is a damage, and no start: which of them is the newer nobody knows.
 * M3 Running it again changes nothing. Who owns the files is settled when the cell starts.
 */
import { createHash, createHmac } from "node:crypto";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { IsolaError } from "../contract/index.ts";

/** Actor classes that live in shards, by the key that names their directory. */
export const SHARD_KEYS = ["isola-shard-v1", "isola-blocks-v1"] as const;

/** Files of one actor, in the order in which they move (M1). */
const SUFFIXES = [".sqlite-wal", ".sqlite-shm", ".sqlite"] as const;

/**
 * The id, and so the file name, that workerd derives from a class's key and an object's name:
 * 16 bytes of HMAC-SHA256 over the name under SHA-256 of the key, and as many over those.
 */
export function actorFileName(uniqueKey: string, name: string): string {
  const key = createHash("sha256").update(uniqueKey).digest();
  const base = createHmac("sha256", key).update(name).digest().subarray(0, 16);
  const check = createHmac("sha256", key).update(base).digest().subarray(0, 16);
  return Buffer.concat([base, check]).toString("hex");
}

export function shardName(shard: number): string {
  return `shard-${String(shard)}`;
}

export interface ShardMove {
  readonly shard: number;
  readonly from: number;
  readonly to: number;
}

export interface ShardFilesOptions {
  readonly shards: number;
  /** Shared cells from now on. */
  readonly cells: number;
  /** Slots that may have had state before. */
  readonly slots: readonly number[];
  stateDir(slot: number): string;
}

/**
 * Puts every shard's files where its cell looks for them. No cell may run.
 *
 * @throws IsolaError `DATA_CORRUPT` naming both files of a shard that is in two cells (M2).
 */
export function placeShards(options: ShardFilesOptions): ShardMove[] {
  const moves: ShardMove[] = [];
  for (let shard = 0; shard < options.shards; shard += 1) {
    const to = shard % options.cells;
    for (const key of SHARD_KEYS) {
      const from = moveActor(options, key, actorFileName(key, shardName(shard)), to);
      for (const slot of from) moves.push({ shard, from: slot, to });
    }
  }
  return moves;
}

function moveActor(options: ShardFilesOptions, key: string, name: string, to: number): number[] {
  const place = (slot: number, suffix: string): string =>
    join(options.stateDir(slot), key, name + suffix);
  const homes = options.slots.filter((slot) => existsSync(place(slot, ".sqlite")));
  if (homes.length > 1) throw inTwoCells(homes.map((slot) => place(slot, ".sqlite")));
  const moved: number[] = [];
  for (const from of options.slots) {
    const files = SUFFIXES.filter((suffix) => existsSync(place(from, suffix)));
    if (from === to || files.length === 0) continue;
    mkdirSync(join(options.stateDir(to), key), { recursive: true, mode: 0o700 });
    for (const suffix of files) renameSync(place(from, suffix), place(to, suffix));
    moved.push(from);
  }
  return moved;
}

function inTwoCells(files: readonly string[]): IsolaError {
  return new IsolaError("DATA_CORRUPT", {
    attempted: "place the shards' files",
    found: `one shard in two cells: ${files.join(" and ")}`,
    required: "each shard's files in one cell's directory",
    fix: "keep the one that is newer, move the other out of the data directory, start again",
  });
}
