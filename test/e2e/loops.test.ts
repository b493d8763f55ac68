/**
 * Functions that never stop asking: calls within a cell are answered without a look at its sockets,
 * so a loop over them must leave the others their turn (G6).
 */
import { beforeAll, describe, expect, it } from "vitest";
import { usePlatform } from "../support/platform.ts";

const LOOPS = {
  calls: `for (let i = 0; i < count; i += 1) await ctx.call("hello", i);`,
  reads: `await ctx.store.put("k", new Uint8Array(1000));
    for (let i = 0; i < count * 5; i += 1) await ctx.store.get("k");`,
  chunks: `await ctx.store.put("k", new Uint8Array(20 << 20));
    for (let i = 0; i < count / 100; i += 1) {
      for await (const chunk of await ctx.store.stream("k"));
    }`,
} as const;

describe("a function that loops over", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(() => platform().deploy("hello", "export default () => 1;"), 30_000);

  for (const [what, body] of Object.entries(LOOPS)) {
    it(`${what} stops nobody, and is not taken for blocked`, async () => {
      const code = `export default async (count, ctx) => { ${body} return count; }`;
      await platform().deploy(what, code, { timeoutMs: 60_000 });
      let isLooping = true;
      const loop = platform()
        .call(what, { method: "POST", body: "5000" })
        .finally(() => (isLooping = false));
      const latenciesMs: number[] = [];
      while (isLooping) {
        const fromMs = performance.now();
        const answer = await platform().call("hello");
        latenciesMs.push(performance.now() - fromMs);
        expect(answer.status).toBe(200);
      }
      const answer = await loop;
      expect([answer.status, answer.text.trim()]).toEqual([200, "5000"]);
      expect(latenciesMs.length).toBeGreaterThan(20);
      expect(Math.max(...latenciesMs)).toBeLessThan(1_000);
    }, 60_000);
  }
});
