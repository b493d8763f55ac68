import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SHARD_KEYS, actorFileName, placeShards, shardName } from "../../runtime/host/internal.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const [KEY] = SHARD_KEYS;
const SLOTS = Array.from({ length: 8 }, (_, slot) => slot);

interface Place {
  readonly file: (shard: number, slot: number, suffix?: string) => string;
  readonly place: (shards: number, cells: number) => number;
}

function placeIn(root: string): Place {
  const stateDir = (slot: number): string => join(root, `cell-${slot}`, "state");
  return {
    file: (shard, slot, suffix = ".sqlite") =>
      join(stateDir(slot), KEY, actorFileName(KEY, shardName(shard)) + suffix),
    place: (shards, cells) => placeShards({ shards, cells, slots: SLOTS, stateDir }).length,
  };
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

describe("the shards' files", () => {
  it("carry the name that workerd derives for the object", () => {
    // Read off workerd 1.20261117.1 for the registry's object.
    expect(actorFileName("isola-registry-v1", "registry")).toBe(
      "2492a763d8cb0845346287bf485a161868ceed0ad7fa1712baf3f037de82bd65",
    );
  });

  it("follow the number of cells, whatever it was before, and none is lost (M1)", () => {
    const counts = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), counts, (shards, cellCounts) => {
        const { file, place } = placeIn(temporaryFolder());
        const [first = 1] = cellCounts;
        for (let shard = 0; shard < shards; shard += 1) {
          write(file(shard, shard % first), `shard ${shard}`);
          write(file(shard, shard % first, ".sqlite-wal"), `log ${shard}`);
        }
        for (const cells of cellCounts) place(shards, cells);
        const last = cellCounts.at(-1) ?? 1;
        for (let shard = 0; shard < shards; shard += 1) {
          expect(readFileSync(file(shard, shard % last), "utf8")).toBe(`shard ${shard}`);
          expect(readFileSync(file(shard, shard % last, ".sqlite-wal"), "utf8")).toBe(
            `log ${shard}`,
          );
        }
        expect(place(shards, last)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });

  it("finish a move that was interrupted between log and database (M1)", () => {
    const { file, place } = placeIn(temporaryFolder());
    write(file(1, 1), "database");
    write(file(1, 0, ".sqlite-wal"), "log");
    place(2, 1);
    expect(readFileSync(file(1, 0), "utf8")).toBe("database");
    expect(readFileSync(file(1, 0, ".sqlite-wal"), "utf8")).toBe("log");
    expect(existsSync(file(1, 1))).toBe(false);
  });

  it("refuse to be in two cells, naming both (M2)", () => {
    const { file, place } = placeIn(temporaryFolder());
    write(file(0, 0), "one");
    write(file(0, 1), "other");
    expect(() => place(1, 1)).toThrow(expect.objectContaining({ code: "DATA_CORRUPT" }));
    expect(existsSync(file(0, 1))).toBe(true);
  });
});
