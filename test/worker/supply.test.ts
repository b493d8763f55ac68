import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NS, ask, call, deploy, itemsOf } from "../support/admin-requests.ts";
import { CELLS_UP, type GatewayProcess, startGateway } from "../support/gateway-process.ts";

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
  for (const namespace of ["theirs", "own"]) {
    await ask(gateway, "POST", "/v1/namespaces", { json: { namespace } });
    const secrets = `/v1/namespaces/${namespace}/secrets/KEY`;
    await ask(gateway, "PUT", secrets, { json: { value: `key of ${namespace}` } });
    const metadata = { config: { secrets: ["KEY"] } };
    await deploy(gateway, "f", "export default () => 1;", { namespace, metadata });
  }
  // The host gives slot 1 to a namespace. Placement itself is the host's to make.
  const dedicated = {
    slot: 1,
    role: "dedicated",
    namespace: "own",
    state: "up",
    pid: 3,
    restarts: 0,
  };
  await gateway.control("/cells", { cells: [...CELLS_UP.cells, dedicated] });
});
afterAll(async () => {
  await gateway.stop();
});

async function supply(slot: 0 | 1 | 99, path: string, body?: unknown) {
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(gateway.supplyUrl(slot) + path, init);
  const text = await response.text();
  return { status: response.status, text, body: (text ? JSON.parse(text) : {}) as never };
}

async function seenBy(slot: 0 | 1 | 99): Promise<string[]> {
  const { namespaces } = (await supply(slot, "/routing")).body as {
    namespaces: { namespace: string }[];
  };
  return namespaces.map((row) => row.namespace).sort();
}

const logsOf = async (ns: string) =>
  itemsOf(await ask(gateway, "GET", `/v1/namespaces/${ns}/logs`));

const versionOf = (ns: string) => `ns=${ns}&fn=f&v=1&g=1`;

describe("a cell", () => {
  it("is given the namespaces of its group, the probation cell all", async () => {
    expect(await seenBy(1)).toEqual(["own"]);
    expect(await seenBy(0)).toEqual(["default", "own", "theirs"]);
    expect(await seenBy(99)).toEqual(["default", "own", "theirs"]);
  });

  it("gets neither versions nor secrets of another group, whatever it says", async () => {
    expect((await supply(1, `/secrets?${versionOf("own")}`)).body).toEqual({ KEY: "key of own" });
    for (const path of ["/secrets", "/version"]) {
      for (const ns of ["theirs", "default", "nil", "", "own%2F..%2Ftheirs"]) {
        const refused = await supply(1, `${path}?${versionOf(ns)}`);
        expect([refused.status, refused.text.includes("NAMESPACE_NOT_FOUND")]).toEqual([404, true]);
        expect(refused.text).not.toContain("key of");
      }
    }
    const bundle = await supply(1, `/bundle?hash=${"0".repeat(64)}`);
    expect(bundle.status).toBe(500);
    expect((await supply(1, "/bundle?hash=../installation")).status).toBe(500);
    expect((await supply(1, "/version?ns=own&fn=f&v=1e3")).text).toContain("VERSION_NOT_FOUND");
    expect((await supply(1, "/nothing")).text).toContain("ROUTE_NOT_FOUND");
  });

  it("can tell nothing about calls of another group's namespaces", async () => {
    const line = {
      callId: "c".repeat(32),
      function: "f",
      version: 1,
      atMs: Date.now(),
      level: "info",
    };
    const logs = ["own", "theirs"].map((namespace) => ({ ...line, namespace, text: "told" }));
    expect((await supply(1, "/telemetry", { calls: [], logs, spans: [] })).status).toBe(204);
    expect(await logsOf("own")).toMatchObject([{ text: "told" }]);
    expect(await logsOf("theirs")).toEqual([]);
  });

  it("that the host has not announced gets nothing", async () => {
    await gateway.control("/cells", CELLS_UP);
    expect((await supply(1, "/routing")).text).toContain("CELL_RESTARTING");
    expect((await supply(1, `/secrets?${versionOf("own")}`)).status).toBe(404);
  });
});

describe("a bundle", () => {
  it("that was changed on disk is refused by its name, not run", async () => {
    await deploy(gateway, "damaged", "export default () => 'whole';");
    const detail = await ask(gateway, "GET", `${NS}/functions/damaged`);
    const hash = String(detail.body?.["bundleHash"]);
    const file = join(gateway.dataDir, "blobs", hash);
    writeFileSync(file, readFileSync(file, "utf8").replace("whole", "tampered"));
    const called = await call(gateway, "damaged");
    expect(called.text).not.toContain("tampered");
    expect(called.text).toContain(hash);
    const again = await deploy(gateway, "damaged", "export default () => 'new';");
    expect(again.body).toMatchObject({ version: 2 });
    expect((await call(gateway, "damaged")).text).toBe('"new"');
  });
});

describe("a kill in the middle of deploys", () => {
  it("loses none that was acknowledged and leaves no bundle that nobody names", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "isola-kill-"));
    let running = await startGateway({ dataDir });
    const acknowledged = new Map<string, string>();
    const attempted = new Map<string, string>();
    try {
      for (const round of [1, 2, 3]) {
        const current = running;
        let isKilled = false;
        const acknowledgedNow = new Set<string>();
        const work = Array.from({ length: 6 }, async (_, worker) => {
          for (let count = 0; count < 100; count++) {
            const [name, text] = [`k${String(worker)}`, `${String(round)}-${String(count)}`];
            attempted.set(name, text);
            const code = `export default () => "${text}";`;
            const answer = await deploy(current, name, code).catch(() => undefined);
            if (answer?.status !== 200) return;
            acknowledged.set(name, text);
            acknowledgedNow.add(name);
            // At another moment of its work each time, with five deploys on their way.
            const isEnough = acknowledgedNow.size === 6 && count >= round;
            if (isEnough && !isKilled) void current.kill();
            isKilled ||= isEnough;
          }
        });
        await Promise.all(work);
        await current.stop();
        running = await startGateway({ dataDir });
        for (const [name, text] of acknowledged) {
          // The one under way may have been registered without its answer being heard.
          const allowed = [text, attempted.get(name)];
          const found = String(JSON.parse((await call(running, name)).text));
          expect(allowed).toContain(found);
          acknowledged.set(name, found);
        }
      }
      expect(acknowledged.size).toBe(6);
      await expect
        .poll(() => unnamedBundles(running, dataDir), { timeout: 10_000, interval: 500 })
        .toEqual([]);
    } finally {
      await running.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});

async function unnamedBundles(from: GatewayProcess, dataDir: string): Promise<string[]> {
  const list = await ask(from, "GET", `${NS}/functions`);
  const named = new Set<string>();
  for (const { name } of itemsOf(list)) {
    const versions = await ask(from, "GET", `${NS}/functions/${String(name)}/versions`);
    for (const one of itemsOf(versions)) named.add(String(one["bundleHash"]));
  }
  const stored = readdirSync(join(dataDir, "blobs"));
  return stored.filter((name) => name.length === 64 && !named.has(name));
}
