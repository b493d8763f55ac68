/** The workflows of functions/ as runs of the engine, with the real functions as their steps. */
import { describe, expect, it } from "vitest";
import buzz from "../../functions/buzz.ts";
import chainMerged from "../../functions/chain-merged.ts";
import chain from "../../functions/chain/index.ts";
import classify from "../../functions/classify.ts";
import echoValue from "../../functions/echo-value.ts";
import expense from "../../functions/expense/index.ts";
import fizz from "../../functions/fizz.ts";
import fizzbuzzMerged from "../../functions/fizzbuzz-merged.ts";
import fizzbuzz from "../../functions/fizzbuzz.ts";
import number from "../../functions/number.ts";
import order from "../../functions/order/index.ts";
import wordCount from "../../functions/word-count.ts";
import { type WorldFunction, WorkflowWorld } from "../support/workflow-world.ts";

const FUNCTIONS: Readonly<Record<string, WorldFunction>> = {
  classify,
  fizz,
  buzz,
  number: (n) => number(Number(n)),
  "fizz-and-buzz": () => fizz() + buzz(),
  "echo-value": echoValue,
};

type Flow = typeof fizzbuzz;
const worldOf = (flow: Flow, input: unknown, functions = FUNCTIONS): WorkflowWorld =>
  new WorkflowWorld({ flow, functions, input });

async function outputOf(flow: Flow, input: unknown): Promise<unknown> {
  const world = worldOf(flow, input);
  await world.finish();
  return world.output;
}

describe("FizzBuzz", () => {
  it("answers as the merged function does, and runs one branch of four", async () => {
    for (let n = 1; n <= 30; n += 1) {
      const world = worldOf(fizzbuzz, n);
      await world.finish();
      expect(world.output).toBe(fizzbuzzMerged(n));
      expect(world.ledger.size).toBe(2);
    }
  });

  it("takes its number from a query, too, and fails of what is none", async () => {
    expect(await outputOf(fizzbuzz, { n: "15" })).toBe("FizzBuzz");
    const world = worldOf(fizzbuzz, "x");
    await world.finish();
    expect(world.run.state.ended).toMatchObject({ status: "failed" });
  });
});

describe("the chain", () => {
  it.each([1, 2, 6, 50])("of %i links calls as many functions", async (links) => {
    const value = { some: ["value"] };
    const world = worldOf(chain, { links, value });
    await world.finish();
    expect(world.output).toEqual(value);
    expect(world.ledger.size).toBe(links);
    expect(chainMerged({ links, value })).toEqual(value);
  });

  it("is refused when it has no length", () => {
    const request = { query: {}, headers: {} };
    for (const links of [0, 1.5, 1_001, "many"]) {
      expect(() => chain.evaluate({ ...request, input: { links } })).toThrow(/from 1 to 1000/);
      expect(() => chainMerged({ links })).toThrow(/from 1 to 1000/);
    }
  });
});

describe("the word count", () => {
  const functions = {
    "word-count-split": () => ["a", "b", "c"],
    "word-count-part": echoValue,
    "word-count-reduce": (keys: unknown) => ({ keys }),
  };

  it("maps every part and reduces them in their order", async () => {
    const world = worldOf(wordCount, "some text", functions);
    await world.finish();
    expect(world.output).toEqual({ keys: ["a", "b", "c"] });
    expect(world.ledger.size).toBe(5);
  });
});

describe("the order", () => {
  const request = { shop: "job", order: "o-1", article: "lamp", pieces: 2, country: "SE" };
  const undone: string[] = [];
  const functions: Readonly<Record<string, WorldFunction>> = {
    "order-reserve": echoValue,
    "order-charge": echoValue,
    "order-ship": (value) => {
      if ((value as typeof request).country !== "SE") throw new Error("no carrier");
      return value;
    },
    "order-release": () => undone.push("release"),
    "order-refund": () => undone.push("refund"),
  };

  it("is shipped, and nothing is undone", async () => {
    const world = worldOf(order, request, functions);
    await world.finish();
    expect(world.output).toEqual({ order: "o-1", state: "shipped" });
    expect(undone).toEqual([]);
  });

  it("is undone from the newest step on when it cannot be shipped, and says why", async () => {
    const world = worldOf(order, { ...request, country: "AQ" }, functions);
    await world.finish();
    expect(world.run.state.ended).toMatchObject({
      output: { value: { order: "o-1", state: "refused", reason: "no carrier" } },
    });
    expect(undone).toEqual(["refund", "release"]);
  });
});

describe("the expense", () => {
  it("passes by rule when it is small", async () => {
    expect(await outputOf(expense, { who: "Ada", amount: 80 })).toEqual({
      approved: true,
      by: "rule",
    });
  });

  it("waits for somebody when it is not", async () => {
    const world = worldOf(expense, { who: "Ada", amount: 800 });
    await world.until(world.nowMs + 60_000);
    expect(world.run.status).toBe("waiting");
    const decision = { approved: true, by: "Grace" };
    world.report({ type: "signal", name: "decision", id: "1", payload: { value: decision } });
    await world.finish();
    expect(world.output).toEqual(decision);
  });

  it("is refused when nobody decides for a week", async () => {
    expect(await outputOf(expense, { who: "Ada", amount: 800 })).toMatchObject({ approved: false });
  });
});
