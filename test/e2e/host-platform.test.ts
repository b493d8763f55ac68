/** The host with real processes: start, stop, restart, isolation from each other. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import type { PlatformOptions } from "../../runtime/host/index.ts";
import {
  NO_CAPABILITIES,
  type PlatformParts,
  type WorkerName,
} from "../../runtime/host/internal.ts";
import {
  type FixturePlatform,
  bundleFixture,
  startFixturePlatform,
} from "../support/fixture-platform.ts";
import { processesOf } from "../support/process-list.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

async function start(
  options: Partial<PlatformOptions> = {},
  parts: Partial<PlatformParts> = {},
): Promise<FixturePlatform & { readonly dataDir: string }> {
  const dataDir = options.dataDir ?? join(temporaryFolder(), "data");
  const platform = await startFixturePlatform({ ...options, dataDir }, parts);
  onTestFinished(() => platform.stop());
  return { ...platform, dataDir };
}

async function codeOf(run: () => Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await run();
    return { code: "NONE", message: "" };
  } catch (error) {
    return error instanceof IsolaError ? error : { code: "OTHER", message: String(error) };
  }
}

const cell = (platform: FixturePlatform, slot: number) =>
  platform.cells().find((one) => one.slot === slot);

const dedicate = (platform: FixturePlatform, cells: number) =>
  platform.get("/host/cells/dedicate", {
    method: "POST",
    body: JSON.stringify({ namespace: "acme", cells }),
  });

/** What the gateway was told on one path; nothing while it is down. */
async function heard(platform: FixturePlatform, path: string): Promise<readonly unknown[]> {
  const told = await platform.told().catch(() => undefined);
  return told?.[path] ?? [];
}

describe("a platform", () => {
  it("starts, answers, and leaves no process, socket or pid file when it stops", async () => {
    const platform = await start({ cells: 2 });
    expect(platform.cells().map(({ slot, state }) => [slot, state])).toEqual([
      [0, "up"],
      [1, "up"],
      [99, "up"],
    ]);
    expect((await platform.get("/cell/1/hello")).text).toBe("hello");
    expect((await platform.get("/cell/1/supply")).text).toBe('{"slot":1}');
    expect(processesOf(platform.dataDir)).toHaveLength(5);
    const pid = JSON.parse(readFileSync(join(platform.dataDir, "run/platform.pid"), "utf8"));
    expect(pid).toMatchObject({ pid: process.pid, publicUrl: platform.publicUrl });
    await platform.stop();
    expect(await platform.exited).toEqual({ reason: "stopped" });
    expect(processesOf(platform.dataDir)).toEqual([]);
    expect(readdirSync(join(platform.dataDir, "run"))).toEqual(["platform.lock"]);
  });

  it("keeps its data over restarts", async () => {
    const { dataDir, ...first } = await start();
    await first.stop();
    const second = await start({ dataDir });
    expect(second.adminToken).toBe(first.adminToken);
    expect((await second.get("/cell/0/hello")).status).toBe(200);
  });

  it("tells the gateway its settings, and of its cells", async () => {
    const platform = await start({ dev: true });
    const settings = JSON.parse((await platform.get("/settings")).text) as Record<string, unknown>;
    expect(settings).toMatchObject({ form: "host", dev: true, version: "0.1.0" });
    expect(settings["publicPort"]).toBe(Number(new URL(platform.publicUrl).port));
    const told = await platform.told();
    expect(told["/cells"]?.at(-1)).toMatchObject({
      cells: [
        { slot: 0, role: "shared", state: "up" },
        { slot: 99, role: "probation", state: "up" },
      ],
    });
  });

  it("works where the system can contain nothing", async () => {
    const platform = await start({}, { capabilities: NO_CAPABILITIES });
    expect((await platform.get("/cell/0/hello")).text).toBe("hello");
  });

  it("works with a path that is too long for sockets", async () => {
    const folder = join(temporaryFolder(), "a-rather-long-name-of-a-folder".repeat(4));
    mkdirSync(folder);
    const platform = await start({ dataDir: join(folder, "data") });
    expect((await platform.get("/cell/0/hello")).text).toBe("hello");
  });
});

describe("a start that cannot succeed", () => {
  it("names the port that is taken, and its flag", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as { port: number };
    const dataDir = join(temporaryFolder(), "data");
    for (const [options, flag] of [
      [{ port }, "--port"],
      [{ adminPort: port }, "--admin-port"],
    ] as const) {
      const error = await codeOf(() => start({ dataDir, ...options }));
      expect(error.code).toBe("PORT_IN_USE");
      expect(error.message).toContain(String(port));
      expect(error.message).toContain(flag);
    }
    expect(processesOf(dataDir)).toEqual([]);
    expect(existsSync(dataDir)).toBe(false);
  });

  it("refuses data that another platform uses, and names its process", async () => {
    const { dataDir } = await start();
    const error = await codeOf(() => start({ dataDir }));
    expect(error.code).toBe("DATA_IN_USE");
    expect(error.message).toContain(String(process.pid));
    expect(processesOf(dataDir)).toHaveLength(4);
  });

  it("leaves nothing running when a process does not come up", async () => {
    for (const broken of ["egress", "gateway", "cell"]) {
      const dataDir = join(temporaryFolder(), "data");
      const bundle = async (name: WorkerName) =>
        name === broken ? { code: "broken();" } : bundleFixture(name);
      const error = await codeOf(() => start({ dataDir }, { bundle }));
      expect(error.code).toBe("START_FAILED");
      expect(processesOf(dataDir)).toEqual([]);
      expect(existsSync(dataDir)).toBe(false);
    }
  });

  it("names a damaged registry, and starts nothing", async () => {
    const { dataDir, ...first } = await start();
    await first.stop();
    const directory = join(dataDir, "workerd/gateway/state/isola-registry-v1");
    const name = readdirSync(directory).find((file) => file.endsWith(".sqlite")) ?? "";
    const file = join(directory, name);
    for (const damaged of [readFileSync(file).subarray(0, 1_000), Buffer.alloc(0)]) {
      writeFileSync(file, damaged);
      const error = await codeOf(() => start({ dataDir }));
      expect(error.code).toBe("DATA_CORRUPT");
      expect(error.message).toContain(name);
      expect(processesOf(dataDir)).toEqual([]);
    }
  });
});

describe("a process that dies", () => {
  it("comes back: cell, gateway and egress, with the same port", async () => {
    const platform = await start();
    for (const name of ["cell-0", "gateway", "egress"]) {
      const [pid] = processesOf(`${platform.dataDir}/workerd/${name}/`);
      process.kill(pid ?? 0, "SIGKILL");
      await until(() => {
        const [next] = processesOf(`${platform.dataDir}/workerd/${name}/`);
        return next !== undefined && next !== pid;
      });
      await until(async () => {
        const answer = await platform.get("/cell/0/hello").catch(() => undefined);
        return answer?.text === "hello";
      });
    }
    await until(async () => {
      const { text } = await platform.get("/cell/0/egress?to=http://10.0.0.1/");
      return text.includes("EGRESS_DENIED");
    });
    expect(processesOf(platform.dataDir)).toHaveLength(4);
  });

  it("is told to a gateway that died in between", async () => {
    const platform = await start();
    const [gateway] = processesOf(`${platform.dataDir}/workerd/gateway/`);
    const before = cell(platform, 0)?.pid;
    process.kill(gateway ?? 0, "SIGKILL");
    process.kill(before ?? 0, "SIGKILL");
    await until(() => cell(platform, 0)?.state === "up" && cell(platform, 0)?.pid !== before);
    await until(async () => (await heard(platform, "/verdict")).length > 0);
    const told = await platform.told();
    const up = { state: "up", pid: cell(platform, 0)?.pid };
    expect(told["/cells"]?.at(-1)).toMatchObject({ cells: [up, { slot: 99 }] });
    expect(told["/verdict"]).toMatchObject([{ slot: 0, cause: "CELL_LOST", suspects: [] }]);
  });

  it("before it ever answers, again and again, ends the platform for a gateway", async () => {
    const platform = await start();
    let killing = true;
    void (async () => {
      while (killing) {
        for (const pid of processesOf(`${platform.dataDir}/workerd/gateway/`)) {
          process.kill(pid, "SIGKILL");
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const { reason } = await platform.exited;
    killing = false;
    expect(reason).toContain("gateway");
    expect(processesOf(platform.dataDir)).toEqual([]);
  });

  it("restarts on demand", async () => {
    const platform = await start();
    const before = cell(platform, 0)?.pid;
    const init = { method: "POST", body: JSON.stringify({ slot: 0 }) };
    expect((await platform.get("/host/cells/restart", init)).status).toBe(204);
    expect(cell(platform, 0)).toMatchObject({ state: "up" });
    expect(cell(platform, 0)?.pid).not.toBe(before);
    expect((await platform.told())["/verdict"]).toBeUndefined();
    const unknown = { method: "POST", body: JSON.stringify({ slot: 7 }) };
    expect((await platform.get("/host/cells/restart", unknown)).status).toBe(404);
  });
});

describe("dedicated cells", () => {
  it("start, come back with the platform, and end", async () => {
    const { dataDir, ...first } = await start();
    expect((await dedicate(first, 2)).status).toBe(200);
    expect(cell(first, 2)).toMatchObject({ role: "dedicated", namespace: "acme", state: "up" });
    expect((await first.get("/cell/2/hello")).text).toBe("hello");
    await first.stop();
    const second = await start({ dataDir });
    expect(cell(second, 1)).toMatchObject({ namespace: "acme", state: "up" });
    expect((await dedicate(second, 0)).status).toBe(200);
    expect(second.cells().map(({ slot }) => slot)).toEqual([0, 99]);
    expect((await dedicate(second, 99)).status).toBe(503);
  });
});
