import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { IsolaClient } from "../../runtime/client/index.ts";
import { startIsola } from "../support/isola-command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const SOURCE = `
  export default {
    async fetch(request) {
      console.log("called with", request.method);
      return new Response(request.body, { headers: { "x-path": new URL(request.url).pathname } });
    }
  };`;

describe("the client, with a platform's own fetch", () => {
  it("deploys, calls, and reads back what is known of the call", async () => {
    const folder = temporaryFolder();
    const start = startIsola(["start", "--port", "0", "--admin-port", "0", "--cells", "1"], {
      cwd: folder,
    });
    const [, url = ""] = await start.said(/^admin +(\S+)$/m);
    const token = readFileSync(join(folder, ".isola/admin-token"), "utf8").trim();
    const root = new IsolaClient({ url, token });
    await root.namespaces.create({ namespace: "team" });
    const client = root.in("team");
    const sinceMs = Date.now();
    const modules = [{ name: "m.js", kind: "js", content: SOURCE }] as const;
    expect(await client.deploy("echo", { main: "m.js" }, modules)).toMatchObject({
      namespace: "team",
      version: 1,
      form: "http",
      created: true,
    });
    const response = await client.invoke("echo", { method: "POST", path: "/p", body: "text" });
    expect(await response.text()).toBe("text");
    expect(response.headers.get("x-path")).toBe("/p");
    const callId = response.headers.get("x-call-id") ?? "";

    const eventually = { timeout: 10_000, interval: 100 };
    const calls = async () => client.calls({ function: "echo", sinceMs, limit: 5 });
    await expect.poll(calls, eventually).toMatchObject([{ callId, outcome: "ok", bytesIn: 4 }]);
    const spans = async () => client.traces({ callId });
    await expect.poll(async () => (await spans()).length, eventually).toBeGreaterThan(0);
    const [span] = await spans();
    expect(await client.traces({ traceId: span?.traceId ?? "" })).toContainEqual(span);
    const logs = async () => (await client.logs({ function: "echo" })).map(({ text }) => text);
    await expect.poll(logs, eventually).toEqual(["called with POST"]);
    const usage = async () => (await client.usage({ sinceMs })).total.calls;
    await expect.poll(usage, eventually).toBe(1);
    expect(await client.metrics()).toMatch(/^gateway_function_invocation_total\{.*echo.*\} 1$/m);
    expect(await root.calls()).toEqual([]);
    expect((await root.status()).functions).toBe(1);
  });
});
