import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type FunctionRoute,
  type NamespaceRoute,
  type RoutingChange,
  RoutingTable,
} from "../../runtime/contract/index.ts";
import { Spreader, appendChange, changesToReach } from "../../runtime/gateway/internal.ts";

const NAMESPACES = ["one", "two"];
const BOUND_MS = 50;

function route(namespace: string, name: string, version: number): FunctionRoute {
  const target = { version, weight: 100 } as FunctionRoute["targets"][number];
  return { namespace, name, targets: [target] };
}

function row(namespace: string, revision: number): NamespaceRoute {
  return {
    namespace,
    revision,
    cells: "shared",
    callsPerSecondMax: 0,
    inFlightMax: 0,
    storeMaxBytes: 0,
  };
}

/** A gateway's table, its cells' tables, and deliveries that fail when told to. */
class World {
  readonly table = new RoutingTable();
  readonly cells = new Map<number, RoutingTable>();
  readonly down = new Set<number>();
  readonly failing = new Set<number>();
  readonly blind = new Set<number>();
  readonly revisions = new Map<string, number>();
  nowMs = 0;
  readonly spreader = new Spreader({
    send: async (slot, change) => {
      await Promise.resolve();
      if (this.failing.has(slot) || this.down.has(slot)) throw new TypeError("no answer");
      // Over the wire: nothing is shared.
      this.cells.get(slot)?.apply(structuredClone(change));
      await Promise.resolve();
    },
    sees: (slot) => !this.blind.has(slot),
    isLive: (slot) => !this.down.has(slot),
    sleep: async (delayMs) => {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      this.nowMs += delayMs;
    },
    clock: { now: () => this.nowMs },
    boundMs: BOUND_MS,
    leaseMs: 2 * BOUND_MS,
  });

  start(slot: number): void {
    const all = this.table.snapshot();
    const revisions = new Map(all.namespaces.map((one) => [one.namespace, one.revision]));
    this.spreader.begin(slot, revisions);
    const cell = new RoutingTable();
    cell.load(structuredClone(this.table.snapshot(() => !this.blind.has(slot))));
    this.cells.set(slot, cell);
    this.down.delete(slot);
  }

  change(namespace: string, parts: Partial<RoutingChange>): void {
    const revision = (this.revisions.get(namespace) ?? 0) + 1;
    this.revisions.set(namespace, revision);
    const empty = { namespace, revision, routes: [], removed: [], collected: [] };
    const change = { ...empty, ...parts };
    if (change.row) change.row = row(namespace, revision);
    this.table.apply(change);
    this.spreader.enqueue([change]);
  }
}

const sorted = (table: RoutingTable | undefined) => {
  const { namespaces, routes } = table?.snapshot() ?? { namespaces: [], routes: [] };
  return [namespaces, routes].map((list) => list.map((one) => JSON.stringify(one)).sort());
};

type Step =
  | { readonly do: "deploy" | "remove"; namespace: string; name: string; version: number }
  | { readonly do: "create" | "drop"; namespace: string }
  | { readonly do: "fail" | "heal" | "kill" | "start"; slot: number }
  | { readonly do: "deliver" };

const namespace = fc.constantFrom(...NAMESPACES);
const slot = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("deploy" as const, "remove" as const),
      namespace,
      name: fc.constantFrom("f", "g"),
      version: fc.integer({ min: 1, max: 9 }),
    }),
  },
  fc.record({ do: fc.constantFrom("create" as const, "drop" as const), namespace }),
  fc.record({
    do: fc.constantFrom("fail" as const, "heal" as const, "kill" as const, "start" as const),
    slot,
  }),
  { weight: 4, arbitrary: fc.constant({ do: "deliver" as const }) },
);

function perform(world: World, one: Step, delivering: Promise<unknown>[]): void {
  const exists = "namespace" in one && world.table.namespace(one.namespace) !== undefined;
  if (one.do === "deliver") delivering.push(world.spreader.deliver());
  else if (one.do === "fail") world.failing.add(one.slot);
  else if (one.do === "heal") world.failing.delete(one.slot);
  else if (one.do === "kill") world.down.add(one.slot);
  else if (one.do === "start") world.start(one.slot);
  else if (one.do === "create" && !exists)
    world.change(one.namespace, { row: row(one.namespace, 0) });
  else if (one.do === "drop" && exists) world.change(one.namespace, { row: null });
  else if (one.do === "deploy" && exists) {
    world.change(one.namespace, { routes: [route(one.namespace, one.name, one.version)] });
  } else if (one.do === "remove" && exists) world.change(one.namespace, { removed: [one.name] });
}

describe("spreading routing changes", () => {
  it("brings every cell that answers to the gateway's own state (P1, P2, P3)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80, size: "max" }), async (steps) => {
        const world = new World();
        for (const one of [0, 1, 2]) world.start(one);
        const delivering: Promise<unknown>[] = [];
        for (const one of steps) {
          perform(world, one, delivering);
          await Promise.resolve();
        }
        await Promise.all(delivering);
        world.failing.clear();
        for (const one of world.down) world.start(one);
        for (let time = 0; world.spreader.isBehind && time < 10; time++) {
          await world.spreader.deliver();
        }
        for (const cell of world.cells.values()) expect(sorted(cell)).toEqual(sorted(world.table));
      }),
      { numRuns: 300 },
    );
  });

  it("says which cells did not acknowledge, and waits no longer than its bound", async () => {
    const world = new World();
    for (const one of [0, 1]) world.start(one);
    world.failing.add(1);
    world.change("one", { row: row("one", 0) });
    expect(await world.spreader.deliver()).toEqual([1]);
    expect(world.nowMs).toBeLessThanOrEqual(2 * BOUND_MS);
    expect(sorted(world.cells.get(0))).toEqual(sorted(world.table));
    world.failing.delete(1);
    expect(await world.spreader.deliver()).toEqual([]);
    expect(sorted(world.cells.get(1))).toEqual(sorted(world.table));
  });

  it("tells a cell that may not see a namespace at most that it is gone", async () => {
    const world = new World();
    world.start(0);
    world.change("one", { row: row("one", 0), routes: [route("one", "f", 1)] });
    await world.spreader.deliver();
    world.blind.add(0);
    world.change("one", { row: row("one", 0), routes: [route("one", "f", 2)] });
    await world.spreader.deliver();
    expect(sorted(world.cells.get(0))).toEqual([[], []]);
    world.change("one", { routes: [route("one", "g", 3)] });
    await world.spreader.deliver();
    expect(sorted(world.cells.get(0))).toEqual([[], []]);
  });

  it("takes the way from any table to any snapshot, in changes that cells can follow", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40, size: "max" }),
        fc.array(step, { maxLength: 40, size: "max" }),
        (before, after) => {
          const world = new World();
          for (const one of before) perform(world, one, []);
          const late = new RoutingTable();
          late.load(structuredClone(world.table.snapshot()));
          for (const one of after) perform(world, one, []);
          for (const change of changesToReach(late, world.table.snapshot())) late.apply(change);
          expect(sorted(late)).toEqual(sorted(world.table));
        },
      ),
    );
  });

  it("merges what waits, so that a cell that is away costs a routing table at most", () => {
    let waiting: RoutingChange[] = [];
    for (let revision = 1; revision <= 1_000; revision++) {
      const name = `f${String(revision % 10)}`;
      waiting = appendChange(waiting, {
        namespace: "one",
        revision,
        routes: [route("one", name, revision)],
        removed: [],
        collected: [],
      });
    }
    expect(waiting).toHaveLength(1);
    expect(waiting[0]?.routes).toHaveLength(10);
    expect(waiting[0]?.revision).toBe(1_000);
  });
});
