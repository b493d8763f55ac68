/** The store from functions in a cell that holds no shard: through the gateway, over sockets. */
import { beforeAll, describe, expect, it } from "vitest";
import { killCell } from "../support/cells.ts";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";
import { describeCases } from "./cases/case.ts";
import { storeCases } from "./cases/index.ts";

const NAMESPACE = "own";

const platform = usePlatform({ cells: 1 });

beforeAll(async () => {
  await platform().client.namespaces.create({ namespace: NAMESPACE, cells: "dedicated" });
});

/** The same platform, seen from a namespace with cells of its own. */
function within(whole: TestPlatform): TestPlatform {
  return {
    ...whole,
    client: whole.client.in(NAMESPACE),
    deploy: (name, source, config, options) =>
      whole.deploy(name, source, config, { namespace: NAMESPACE, ...options }),
    call: (target, init) => {
      const [, name = "", rest = ""] = /^([^/?]*)(.*)$/.exec(target) ?? [];
      return whole.call(`${name.includes(".") ? name : `${name}.${NAMESPACE}`}${rest}`, init);
    },
  };
}

describe("a cell without shards that dies", () => {
  it("leaves no job of its calls in another's shard", async () => {
    const own = within(platform());
    await own.deploy(
      "holder",
      `export default async (_, ctx) => {
        await ctx.store.put("k", "x".repeat(100_000));
        await new Promise((go) => setTimeout(go, 20_000));
      };`,
    );
    const calls = [1, 2, 3].map(() => own.call("holder", { json: null, withinMs: 30_000 }));
    const jobs = async () => (await own.client.store.jobs()).items.length;
    await until(async () => (await jobs()) === 3, 5_000);
    const cells = await platform().client.cells();
    const slot = cells.find(({ role }) => role === "dedicated")?.slot ?? -1;
    await killCell(platform(), slot);
    const codes = (await Promise.all(calls)).map(({ code }) => code);
    expect(codes).toEqual(["CELL_LOST", "CELL_LOST", "CELL_LOST"]);
    await until(async () => (await jobs()) === 0, 10_000);
  });
});

for (const group of storeCases) describeCases(group, () => within(platform()));
