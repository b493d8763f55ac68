/** Runs counted over shards that come and go. */
import { describe, expect, it } from "vitest";
import type { RunTally } from "../../runtime/contract/index.ts";
import { RunLedger } from "../../runtime/gateway/internal.ts";

const row = (status: RunTally["status"], count: number, namespace = "a"): RunTally => ({
  namespace,
  workflow: "w",
  status,
  count,
});

const counts = (rows: readonly RunTally[]): string[] =>
  rows.map(({ namespace, status, count }) => `${namespace} ${status} ${String(count)}`);

describe("the ledger of runs", () => {
  it("adds up shards, and counts on when one begins anew", () => {
    const ledger = new RunLedger();
    ledger.observe(0, [row("running", 2), row("completed", 5)]);
    ledger.observe(1, [row("running", 1), row("completed", 1)]);
    expect(counts(ledger.rows().open)).toStrictEqual(["a running 3"]);
    expect(counts(ledger.rows().ended)).toStrictEqual(["a completed 6"]);
    ledger.observe(0, [row("completed", 7)]);
    expect(counts(ledger.rows().ended)).toStrictEqual(["a completed 8"]);
    ledger.observe(0, [row("completed", 2)]);
    expect(counts(ledger.rows().ended)).toStrictEqual(["a completed 10"]);
    ledger.observe(0, []);
    ledger.observe(0, [row("completed", 1)]);
    expect(counts(ledger.rows().ended)).toStrictEqual(["a completed 11"]);
    expect(counts(ledger.rows().open)).toStrictEqual(["a running 1"]);
  });

  it("has no open runs of a shard that is down, and nothing of namespaces that are no more", () => {
    const ledger = new RunLedger();
    ledger.observe(0, [row("waiting", 2), row("failed", 1), row("failed", 4, "b")]);
    ledger.observe(0, undefined);
    expect(ledger.rows().open).toStrictEqual([]);
    ledger.keep((namespace) => namespace === "b");
    expect(counts(ledger.rows().ended)).toStrictEqual(["b failed 4"]);
  });
});
