/** Calls between functions that leave the cell, as a suspect's do: the gateway places them. */
import { beforeAll, describe, expect, it } from "vitest";
import { CELL_CONTROL, LIMITS } from "../../runtime/contract/index.ts";
import { askCell } from "../support/cell-control.ts";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";
import { subCallCases } from "./cases/sub-calls.ts";

const platform = usePlatform({ cells: 1 });

const FORWARDED = ["values", "http", "rpc", "throws", "returns", "echo", "slow", "chatty", "large"];

beforeAll(async () => {
  await subCallCases.prepare?.(platform());
  await platform().deploy(
    "slow",
    `export default async (ms, ctx) => {
      await Promise.race([
        new Promise((go) => setTimeout(go, ms)),
        new Promise((go) => ctx.signal.addEventListener("abort", go)),
      ]);
      return "slept";
    };`,
    { timeoutMs: 400 },
  );
  await platform().deploy(
    "chatty",
    "export default (word) => { console.log(word); return word; };",
  );
  // Suspects run elsewhere: from here on the cell hands these calls to the gateway.
  const suspects = FORWARDED.map((name) => `default/${name}@1`);
  await askCell(platform(), 0, CELL_CONTROL.suspects, { suspects });
});

const call = async (name: string, input?: unknown, options?: unknown): Promise<unknown> =>
  (await platform().call("caller", { json: { name, input, options } })).json;

describe("a call that leaves the cell", () => {
  for (const name of [
    "an HTTP function is called with a JSON body and answers its body",
    "a class answers by method, a Workers module has env.ISOLA.call",
    "a failure comes as an Error with the catalogue's code",
    "what a function does not catch is its own failure",
    "many calls at once each get their own answer",
  ]) {
    it(`is like any other: ${name}`, async () => {
      await subCallCases.cases[name]?.(platform());
      expect(Object.keys(subCallCases.cases)).toContain(name);
    });
  }

  it("carries values as they are, both ways", async () => {
    const { seen, here } = (await platform().call("values", { json: "check" })).json as Record<
      string,
      Record<string, unknown>
    >;
    // What MessagePack cannot say: the sign of zero, and a gap in a list.
    const { minus: _, sparse: __, ...kept } = seen ?? {};
    expect(kept).toEqual({
      map: true,
      bytes: "1,2,255",
      buffer: 3,
      date: 5,
      big: String(12n ** 20n),
      none: true,
      nan: true,
      regex: "/a+/gi",
      error: "t",
      same: true,
      text: "ü\u0000😀",
      loop: true,
    });
    expect(here).toEqual(seen);
    expect(await call("returns", "nested")).toMatchObject({ code: "RESULT_INVALID" });
  });

  it("keeps its deadline, its record, its trace and its lines", async () => {
    const startedAtMs = performance.now();
    expect(await call("slow", 30_000)).toMatchObject({ code: "TIMEOUT" });
    expect(performance.now() - startedAtMs).toBeLessThan(400 + LIMITS.graceMs + 500);
    const traceId = "c".repeat(32);
    await platform().call("caller", {
      json: { name: "chatty", input: "over there" },
      headers: { traceparent: `00-${traceId}-${"d".repeat(16)}-01` },
    });
    await until(async () => (await platform().client.traces({ traceId })).length >= 2);
    const calls = await platform().client.calls({ function: "chatty" });
    expect(calls.map(({ outcome, parentCallId }) => [outcome, typeof parentCallId])).toEqual([
      ["ok", "string"],
    ]);
    await until(async () => (await platform().client.logs({ function: "chatty" })).length > 0);
    const [line] = await platform().client.logs({ function: "chatty" });
    expect(line).toMatchObject({ text: "over there", callId: calls[0]?.callId });
  });

  it("speaks a form that nobody outside may speak", async () => {
    const headers = { "content-type": "application/x-isola-value" };
    const refused = await platform().call("echo", { headers, body: "x" });
    expect([refused.status, refused.code]).toEqual([415, "MEDIA_UNSUPPORTED"]);
    const accept = await platform().call("echo?a=1", {
      headers: { accept: headers["content-type"] },
    });
    expect(accept.json).toEqual({ a: "1" });
  });
});
