import { describe, expect, it } from "vitest";
import { type RoutingChange, RoutingTable } from "../../runtime/contract/index.ts";

const row = {
  namespace: "a",
  revision: 0,
  cells: "shared",
  callsPerSecondMax: 0,
  inFlightMax: 0,
  storeMaxBytes: 0,
};

const change = (revision: number, changes: Partial<RoutingChange>): RoutingChange => ({
  namespace: "a",
  revision,
  routes: [],
  removed: [],
  collected: [],
  ...changes,
});

const created = (revision: number): RoutingChange =>
  change(revision, { row: { ...row, revision, cells: "shared" } });
const deployed = (revision: number): RoutingChange =>
  change(revision, { routes: [{ namespace: "a", name: "f", targets: [] }] });

describe("the routing table", () => {
  it("ignores changes that come twice or late (R1)", () => {
    const table = new RoutingTable();
    expect(table.apply(created(1))).toBe(true);
    expect(table.apply(deployed(2))).toBe(true);
    expect(table.apply(change(3, { removed: ["f"] }))).toBe(true);
    expect(table.apply(deployed(2))).toBe(false);
    expect(table.route("a", "f")).toBeUndefined();
  });

  it("brings nothing of a removed namespace back (R1)", () => {
    const table = new RoutingTable();
    for (const one of [created(1), deployed(2), change(3, { row: null })]) table.apply(one);
    expect(table.apply(deployed(2))).toBe(false);
    expect(table.apply(created(4))).toBe(true);
    expect(table.route("a", "f")).toBeUndefined();
    expect(table.namespace("a")?.revision).toBe(4);
  });
});
