/**
 * Runs in one Worker under `wrangler dev`, where nobody but an alarm opens a shard: what was
 * accepted goes on when the process comes back, without being asked (G1).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { nodeFetch } from "../../runtime/cli/internal.ts";
import { IsolaClient } from "../../runtime/client/index.ts";
import { HttpCaller } from "../support/http-calls.ts";
import { type WranglerDev, startWrangler } from "../support/wrangler-dev.ts";

/** Says in its log when it ran. */
const NOTE = `export default (value) => { console.log("note " + value + " " + Date.now()); };`;
const SLEEPER = `import { flow } from "isola";
export default flow((dag) => { dag.node("a").sleep("1s").apply("note"); });`;
const FRAGILE = `export default async (value, ctx) => {
  await new Promise((go) => setTimeout(go, 1_500));
  await ctx.call("note", value);
};`;
/** How long nobody asks anything after the start. */
const QUIET_MS = 5_000;

const folder = mkdtempSync(join(tmpdir(), "isola-e2e-"));
let running: WranglerDev | undefined;

afterAll(async () => {
  await running?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function started() {
  running = await startWrangler(folder);
  const { adminUrl: url, publicUrl, adminToken: token } = running;
  const client = new IsolaClient({ url, publicUrl, token, fetch: nodeFetch });
  return { client, http: new HttpCaller(publicUrl) };
}

async function deploy(client: IsolaClient, name: string, content: string): Promise<void> {
  await client.deploy(name, { main: "main.js" }, [{ name: "main.js", kind: "js", content }]);
}

async function call(http: HttpCaller, name: string, json: unknown): Promise<void> {
  const answer = await http.call(`/async-function/${name}`, { json });
  expect(answer.status, answer.text).toBe(202);
}

describe("runs of one Worker", () => {
  it("go on by themselves after its process ended", { timeout: 90_000 }, async () => {
    const before = await started();
    await deploy(before.client, "note", NOTE);
    await deploy(before.client, "sleeper", SLEEPER);
    await deploy(before.client, "fragile", FRAGILE);
    await call(before.http, "sleeper", "slept");
    await call(before.http, "fragile", "worked");
    before.http.close();
    await running?.stop();
    const after = await started();
    await sleep(QUIET_MS);
    const askedMs = Date.now();
    const lines = await after.client.logs({ function: "note" });
    after.http.close();
    const notes = lines.flatMap(({ text }) => {
      const [, name, atMs] = /^note (\S+) (\d+)$/.exec(text) ?? [];
      return name === undefined ? [] : [{ name, isBefore: Number(atMs) < askedMs }];
    });
    expect(notes.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toStrictEqual([
      { name: "slept", isBefore: true },
      { name: "worked", isBefore: true },
    ]);
  });
});
