/** A data directory over restarts: with other numbers of cells, and with a damaged shard. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { nodeFetch } from "../../runtime/cli/internal.ts";
import { IsolaClient } from "../../runtime/client/index.ts";
import { type IsolaError, shardOfJob } from "../../runtime/contract/index.ts";
import { SHARD_KEYS, actorFileName, shardName } from "../../runtime/host/internal.ts";
import { type Platform, startPlatform } from "../../runtime/host/index.ts";
import { until } from "../support/until.ts";

const folder = mkdtempSync(join(tmpdir(), "isola-restart-"));
const dataDir = join(folder, "data");
const SHARDS = 3;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function withPlatform<T>(
  cells: number,
  work: (client: IsolaClient, platform: Platform) => Promise<T>,
): Promise<T> {
  const platform = await startPlatform({
    dataDir,
    cells,
    shards: SHARDS,
    port: 0,
    adminPort: 0,
    logLevel: "error",
  });
  try {
    const { adminUrl: url, publicUrl, adminToken: token } = platform;
    return await work(new IsolaClient({ url, publicUrl, token, fetch: nodeFetch }), platform);
  } finally {
    await platform.stop();
  }
}

/** Small enough for a row, and large enough for blocks. */
const octets = (seed: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(seed % 2 === 0 ? 100 : 200_000).fill(seed);

it("finds every job again, whatever the number of cells", async () => {
  const jobs = await withPlatform(1, async ({ store }) => {
    const made: string[] = [];
    const shards = new Set<number | undefined>();
    for (let seed = 0; shards.size < SHARDS || made.length < 12; seed += 1) {
      const { id } = await store.createJob({ name: `job ${String(seed)}` });
      await store.job(id).bucket().put("k", octets(made.length), { persist: true });
      made.push(id);
      shards.add(shardOfJob(id));
    }
    return made;
  });
  for (const cells of [2, 4, 1]) {
    await withPlatform(cells, async ({ store }) => {
      // The gateway hears of each cell when it is up.
      await until(async () => (await store.jobs()).missing.length === 0);
      expect((await store.jobs()).items.map(({ id }) => id).toSorted()).toEqual(jobs.toSorted());
      for (const [seed, id] of jobs.entries()) {
        const found = await (await store.job(id).bucket().get("k")).bytes();
        expect(Buffer.from(found).equals(octets(seed)), id).toBe(true);
        await store
          .job(id)
          .bucket()
          .put(`with ${String(cells)}`, octets(seed), { persist: true });
      }
    });
  }
}, 120_000);

for (const key of SHARD_KEYS) {
  it(`does not start on a damaged file of ${key}, and names it`, async () => {
    const name = `${actorFileName(key, shardName(1))}.sqlite`;
    const file = join(dataDir, "workerd/cell-0/state", key, name);
    const kept = readFileSync(file);
    writeFileSync(file, Buffer.alloc(kept.byteLength, 7));
    const started = withPlatform(1, () => Promise.resolve());
    const error = await started.catch((thrown: unknown) => thrown as IsolaError);
    expect(error).toMatchObject({ code: "DATA_CORRUPT" });
    expect(String(error)).toContain(`shard 1`);
    expect(String(error)).toContain(dataDir);
    writeFileSync(file, kept);
  }, 60_000);
}
