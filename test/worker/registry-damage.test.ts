import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { NS, ask, call, deploy, itemsOf } from "../support/admin-requests.ts";
import { type GatewayProcess, startGateway } from "../support/gateway-process.ts";

const folder = mkdtempSync(join(tmpdir(), "isola-damage-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const answering = (text: string): string => `export default () => ${JSON.stringify(text)};`;

/** A disk of its own; undefined where this user may not mount one. */
function mountDisk(path: string, sizeKb: number): (() => void) | undefined {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${String(sizeKb)}k`, "tmpfs", path], {
      stdio: "ignore",
    });
    return () => execFileSync("umount", ["-l", path]);
  } catch {
    return undefined;
  }
}

function registryFile(dataDir: string): string {
  const state = join(dataDir, "state", "isola-registry-v1");
  const name = readdirSync(state).find((file) => /^[0-9a-f]{64}\.sqlite$/.test(file));
  return join(state, name ?? "missing");
}

describe("a registry file", () => {
  let gateway: GatewayProcess | undefined;
  let dataDir: string;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(folder, "data-"));
    const first = await startGateway({ dataDir });
    await deploy(first, "kept", answering("kept"));
    await first.stop();
    // Everything from the write-ahead log into the file that is about to be damaged.
    const database = new DatabaseSync(registryFile(dataDir));
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    database.close();
  });
  afterEach(() => gateway?.stop());

  it("keeps what was acknowledged through a kill, as calls find at once", async () => {
    gateway = await startGateway({ dataDir });
    expect((await call(gateway, "kept")).text).toBe('"kept"');
    await deploy(gateway, "late", answering("late"));
    await gateway.kill();
    await gateway.stop();
    gateway = await startGateway({ dataDir });
    expect((await call(gateway, "late")).text).toBe('"late"');
  });

  it.each<[string, (file: string) => void]>([
    ["cut short", (file) => truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096)],
    ["cut in the middle of a page", (file) => truncateSync(file, 5_000)],
    ["emptied", (file) => truncateSync(file, 0)],
    ["removed", (file) => rmSync(file)],
    ["overwritten", (file) => writeFileSync(file, Buffer.alloc(20_000, 0x5a))],
    [
      "without a table",
      (file) => {
        const database = new DatabaseSync(file);
        database.exec("DROP TABLE versions");
        database.close();
      },
    ],
    [
      "with a row that is no JSON",
      (file) => {
        const database = new DatabaseSync(file);
        database.exec("UPDATE functions SET traffic = '[{'");
        database.close();
      },
    ],
  ])(
    "that was %s is refused by its name, and nothing is answered from it",
    async (_how, damage) => {
      damage(registryFile(dataDir));
      gateway = await startGateway({ dataDir });
      await expect(gateway.control("/ready", {})).rejects.toThrow("DATA_CORRUPT");
      const ready = await ask(gateway, "GET", "/readyz");
      expect([ready.status, ready.code]).toEqual([500, "DATA_CORRUPT"]);
      expect(ready.text).toMatch(/isola-registry-v1\/[0-9a-f]{64}\.sqlite/);
      const called = await call(gateway, "kept");
      expect(called.code).toBe("DATA_CORRUPT");
      const list = await ask(gateway, "GET", `${NS}/functions`);
      expect(list.body).not.toHaveProperty("items");
    },
  );
});

const probeDisk = mkdtempSync(join(folder, "probe-"));
const unmountProbe = mountDisk(probeDisk, 64);
unmountProbe?.();

describe.skipIf(unmountProbe === undefined)("a full disk (mounting one needs root)", () => {
  it("fails a deploy whole, while calls go on; with room again deploys do", async () => {
    const dataDir = mkdtempSync(join(folder, "disk-"));
    const unmount = mountDisk(dataDir, 3_000);
    const gateway = await startGateway({ dataDir });
    try {
      await deploy(gateway, "before", answering("before"));
      const filler = join(dataDir, "filler");
      fillDisk(filler);
      const blobsBefore = readdirSync(join(dataDir, "blobs"));
      for (let time = 0; time < 5; time++) {
        const text = `${String(time)}${"x".repeat(20_000)}`;
        const refused = await deploy(gateway, "after", answering(text));
        expect([refused.status, refused.code]).toEqual([507, "DISK_FULL"]);
        expect(refused.headers.get("retry-after")).not.toBeNull();
        expect((await call(gateway, "before")).text).toBe('"before"');
      }
      expect(readdirSync(join(dataDir, "blobs"))).toEqual(blobsBefore);
      expect((await ask(gateway, "GET", `${NS}/functions/after`)).status).toBe(404);
      rmSync(filler);
      expect((await deploy(gateway, "after", answering("after"))).body).toMatchObject({
        version: 1,
      });
      expect((await call(gateway, "after")).text).toBe('"after"');
    } finally {
      await gateway.stop();
      unmount?.();
    }
  });

  it("never lets a change through half, whatever moment it fills up", async () => {
    const dataDir = mkdtempSync(join(folder, "disk-"));
    const unmount = mountDisk(dataDir, 2_500);
    const gateway = await startGateway({ dataDir });
    try {
      const kept: string[] = [];
      const value = "s".repeat(30_000);
      let code: string | undefined;
      for (let index = 0; index < 200 && code === undefined; index++) {
        const name = `SECRET_${String(index)}`;
        ({ code } = await ask(gateway, "PUT", `${NS}/secrets/${name}`, { json: { value } }));
        if (code === undefined) kept.push(name);
      }
      expect(code).toBe("DISK_FULL");
      const listed = itemsOf(await ask(gateway, "GET", `${NS}/secrets`));
      const names = listed.map((item) => String(item["name"]));
      expect(names.toSorted()).toEqual(kept.toSorted());
    } finally {
      await gateway.stop();
      unmount?.();
    }
  });
});

/** Writes until not a byte more fits. */
function fillDisk(path: string): void {
  const chunk = Buffer.alloc(64 * 1024);
  for (let bytes = chunk.length; bytes >= 1; bytes = Math.floor(bytes / 4)) {
    for (;;) {
      try {
        writeFileSync(path, chunk.subarray(0, bytes), { flag: "a" });
      } catch {
        break;
      }
    }
  }
}
