import { describe, expect, it } from "vitest";
import {
  type CellInfo,
  type NamespaceRoute,
  PROBATION_SLOT,
} from "../../runtime/contract/index.ts";
import {
  CellPool,
  PROBATION_GROUP,
  SHARED_GROUP,
  groupOf,
} from "../../runtime/gateway/internal.ts";

const info = (slot: number, changes: Partial<CellInfo> = {}): CellInfo => ({
  slot,
  role: slot === PROBATION_SLOT ? "probation" : "shared",
  state: "up",
  pid: 1000 + slot,
  restarts: 0,
  ...changes,
});

const row = (namespace: string, cells: "shared" | "dedicated"): NamespaceRoute => ({
  namespace,
  revision: 1,
  cells,
  callsPerSecondMax: 0,
  inFlightMax: 0,
  storeMaxBytes: 0,
});

describe("the cell pool", () => {
  it("offers a namespace with cells of its own nobody else's (P1)", () => {
    const pool = new CellPool();
    pool.apply({
      cells: [
        info(0),
        info(1, { role: "dedicated", namespace: "alice" }),
        info(2, { role: "dedicated", namespace: "bob" }),
        info(PROBATION_SLOT),
      ],
    });
    expect(pool.upSlots(groupOf(row("alice", "dedicated")))).toEqual([1]);
    expect(pool.upSlots(groupOf(row("carol", "dedicated")))).toEqual([]);
    expect(pool.upSlots(groupOf(row("carol", "shared")))).toEqual([0]);
    expect(pool.upSlots(PROBATION_GROUP)).toEqual([PROBATION_SLOT]);
  });

  it("does not offer a lost slot until its process changed (P2)", () => {
    const pool = new CellPool();
    pool.apply({ cells: [info(0)] });
    pool.markLost(0);
    pool.apply({ cells: [info(0)] });
    expect(pool.upSlots(SHARED_GROUP)).toEqual([]);
    expect(pool.infos()[0]?.state).toBe("down");
    pool.apply({ cells: [info(0, { pid: 77 })] });
    expect(pool.upSlots(SHARED_GROUP)).toEqual([0]);
  });

  it("wakes those who wait for a cell at the next report", async () => {
    const pool = new CellPool();
    const changed = pool.changed();
    pool.apply({ cells: [info(0)] });
    await expect(changed).resolves.toBeUndefined();
  });
});
