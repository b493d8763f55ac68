import { readFileSync, readdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { NS, ask, call, deploy } from "../support/admin-requests.ts";
import {
  ADMIN_TOKEN,
  CELLS_UP,
  type GatewayProcess,
  startGateway,
} from "../support/gateway-process.ts";

const NO_ROOM = new IsolaError("DISK_FULL", { attempted: "keep", found: "ENOSPC" }).toData();
const SECRET = "correct-horse-battery-staple";

let gateway: GatewayProcess;
let host: Server;
let keepsBundles = true;
const hostRequests: { readonly path: string; readonly body: unknown }[] = [];

beforeAll(async () => {
  host = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      hostRequests.push({ path: request.url ?? "", body: JSON.parse(text) });
      if (request.url === "/bundles/keep" && !keepsBundles) response.statusCode = 507;
      response.end(JSON.stringify(response.statusCode === 200 ? CELLS_UP : NO_ROOM));
    });
  });
  await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
  gateway = await startGateway({ hostPort: (host.address() as AddressInfo).port });
});
afterAll(async () => {
  await gateway.stop();
  host.closeAllConnections();
  host.close();
});

/** Contents of every file below a folder. */
function filesBelow(folder: string): Buffer[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
}

const put = (name: string, value: string) =>
  ask(gateway, "PUT", `${NS}/secrets/${name}`, { json: { value } });

describe("secrets", () => {
  it("reach the functions that name them, also newly put ones without a deploy", async () => {
    expect((await put("API_KEY", "first")).body).toMatchObject({ name: "API_KEY", generation: 1 });
    const code = "export default (_, ctx) => [ctx.env.API_KEY, ctx.env.PLAIN];";
    const config = { secrets: ["API_KEY"], env: { PLAIN: "plain" } };
    await deploy(gateway, "uses", code, { metadata: { config } });
    expect((await call(gateway, "uses")).body).toEqual(["first", "plain"]);
    expect((await put("API_KEY", "second")).body).toMatchObject({
      generation: 2,
      usedBy: ["uses"],
    });
    expect((await call(gateway, "uses")).body).toEqual(["second", "plain"]);
    const remove = await ask(gateway, "DELETE", `${NS}/secrets/API_KEY`);
    expect(remove.code).toBe("CONFLICT");
    expect(remove.text).toContain("uses");
  });

  it("are in no listing, no error and no file in clear", async () => {
    await put("HIDDEN", SECRET);
    const code = `export default (_, ctx) => { throw new Error("no " + ctx.env.HIDDEN.length); };`;
    await deploy(gateway, "hides", code, { metadata: { config: { secrets: ["HIDDEN"] } } });
    const seen = [
      await ask(gateway, "GET", `${NS}/secrets`),
      await ask(gateway, "GET", `${NS}/secrets/HIDDEN`),
      await ask(gateway, "PUT", `${NS}/secrets/HIDDEN`, { json: { value: { nested: SECRET } } }),
      await ask(gateway, "PUT", `${NS}/secrets/HIDDEN`, { json: { value: SECRET.repeat(3_000) } }),
      await ask(gateway, "PUT", `${NS}/secrets/1${SECRET.length}`, { json: { value: SECRET } }),
      await ask(gateway, "GET", `${NS}/functions/hides`),
      await ask(gateway, "GET", `${NS}/functions/hides/versions`),
      await ask(gateway, "GET", "/metrics"),
      await call(gateway, "hides"),
      await ask(gateway, "GET", `${NS}/logs`),
    ];
    for (const answer of seen) expect(answer.text).not.toContain(SECRET);
    expect(gateway.output()).not.toContain(SECRET);
    const files = filesBelow(gateway.dataDir);
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) {
      expect(file.includes(SECRET)).toBe(false);
      expect(file.includes(Buffer.from(SECRET).toString("base64").slice(0, 20))).toBe(false);
      expect(file.includes(ADMIN_TOKEN)).toBe(false);
    }
  });

  it("refuse names that are no variable, and values that are too large", async () => {
    for (const name of ["ISOLA", "1A", "A-B", "a b"]) {
      expect((await put(encodeURIComponent(name), "x")).code).toBe("NAME_INVALID");
    }
    expect((await put("LARGE", "x".repeat(64 * 1024))).status).toBe(200);
    expect((await put("LARGE", "x".repeat(64 * 1024 + 1))).code).toBe("REQUEST_INVALID");
    expect((await put("LARGE", "é".repeat(40_000))).code).toBe("REQUEST_INVALID");
    expect((await ask(gateway, "DELETE", `${NS}/secrets/NONE`)).code).toBe("NOT_FOUND");
  });
});

describe("what is known of calls", () => {
  it("shows logs, records, traces and usage of the namespace that made them", async () => {
    await deploy(gateway, "told", `export default () => { console.log("hello log"); return 1; };`);
    const called = await call(gateway, "told");
    const callId = called.headers.get("x-call-id") ?? "";
    const items = async (rest: string) =>
      (await ask(gateway, "GET", `${NS}/${rest}`)).body?.["items"] as Record<string, unknown>[];
    await expect
      .poll(() => items("logs?function=told"))
      .toMatchObject([{ text: "hello log", callId }]);
    expect(await items("calls?function=told&limit=5")).toMatchObject([{ callId, outcome: "ok" }]);
    expect(await items(`traces?callId=${callId}`)).toMatchObject([{ kind: "server" }]);
    const [trace] = await items("traces?function=told");
    expect(trace).toMatchObject({ name: "told", spans: 1 });
    expect(await items(`traces?traceId=${String(trace?.["traceId"])}`)).toHaveLength(1);
    const usage = await ask(gateway, "GET", `${NS}/usage?sinceMs=0`);
    const rows = usage.body?.["functions"] as { function: string; calls: number }[];
    expect(rows.find((row) => row.function === "told")?.calls).toBe(1);
    const detail = await ask(gateway, "GET", `${NS}/functions/told`);
    expect(detail.body).toMatchObject({
      usage: { calls: 1 },
      addresses: ["/function/told", "http://told.default.localhost:8080/"],
    });
    await ask(gateway, "POST", "/v1/namespaces", { json: { namespace: "other" } });
    for (const rest of ["logs", "calls", "traces", `traces?callId=${callId}`]) {
      const other = await ask(gateway, "GET", `/v1/namespaces/other/${rest}`);
      expect(other.body?.["items"]).toEqual([]);
    }
  });

  it("follows logs as they come", async () => {
    await deploy(gateway, "followed", `export default (n) => { console.log("line", n.n); };`);
    const leave = new AbortController();
    const response = await fetch(`${gateway.adminUrl}${NS}/logs?follow=1&function=followed`, {
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
      signal: leave.signal,
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (const n of [1, 2]) await fetch(`${gateway.publicUrl}/function/followed?n=${String(n)}`);
    let text = "";
    while (!text.includes("line 2")) text += (await reader?.read())?.value ?? "";
    expect(text.match(/^data: .*line \d/gm)).toHaveLength(2);
    expect(text).toMatch(/^id: /m);
    leave.abort();
  });
});

describe("the host", () => {
  it("is asked to restart a cell, and to start and stop a namespace's own", async () => {
    hostRequests.length = 0;
    expect((await ask(gateway, "POST", "/v1/cells/0/restart")).status).toBe(204);
    const json = { namespace: "own", cells: "dedicated" };
    expect((await ask(gateway, "POST", "/v1/namespaces", { json })).status).toBe(201);
    expect((await ask(gateway, "DELETE", "/v1/namespaces/own")).status).toBe(204);
    await expect
      .poll(() => hostRequests)
      .toEqual([
        { path: "/cells/restart", body: { slot: 0 } },
        { path: "/cells/dedicate", body: { namespace: "own", cells: 1 } },
        { path: "/cells/dedicate", body: { namespace: "own", cells: 0 } },
      ]);
    expect((await ask(gateway, "GET", "/v1/cells")).body?.["items"]).toMatchObject(CELLS_UP.cells);
  });
});

describe("a deploy", () => {
  it("answers when its bundle is on disk, and fails whole if it cannot be", async () => {
    const bundles = (): string[] => readdirSync(join(gateway.dataDir, "blobs"));
    hostRequests.length = 0;
    const deployed = await deploy(gateway, "kept", "export default () => 'kept';");
    expect(deployed.status).toBe(200);
    const hash = deployed.body?.["bundleHash"];
    expect(hostRequests).toEqual([{ path: "/bundles/keep", body: { hash } }]);
    const before = bundles();
    keepsBundles = false;
    const refused = await deploy(gateway, "lost", "export default () => 'lost';");
    keepsBundles = true;
    expect(refused).toMatchObject({ status: 507, code: "DISK_FULL" });
    expect((await ask(gateway, "GET", `${NS}/functions/lost`)).status).toBe(404);
    expect(bundles()).toEqual(before);
  });
});

describe("usage", () => {
  it("is on disk after a drain, and counted once", async () => {
    await deploy(gateway, "billed", "export default () => 1;");
    for (let time = 0; time < 5; time++) await call(gateway, "billed");
    await gateway.control("/drain", {});
    const { dataDir } = gateway;
    await gateway.kill();
    const again = await startGateway({ dataDir });
    try {
      const usage = await ask(again, "GET", `${NS}/usage?sinceMs=0`);
      const rows = usage.body?.["functions"] as { function: string; calls: number }[];
      expect(rows.find((row) => row.function === "billed")?.calls).toBe(5);
    } finally {
      await again.stop();
    }
  });
});
