/**
 * Where the store's benchmark keeps data: Isola's store, a Redis server on loopback behind a bare
 * workerd, and miniflare's R2, by its binding and over the S3 API. Each answers batches over HTTP.
 */
import { execFileSync, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Miniflare } from "miniflare";
import { fixtureCode } from "./baselines.ts";
import { bundleOf } from "./bundle.ts";
import { deployCode, startIsola } from "./platform.ts";
import { type ChildProgram, endWithUs, familyOf, freePort, startWorkerd } from "./processes.ts";

const COMPATIBILITY_DATE = "2026-11-01";
const REDIS_START_MS = 5_000;
/** So much that the stream of 100 MB stays in memory, as the case says. */
const STORE_MEMORY_MB = 1_024;

export interface StoreTarget {
  readonly name: "isola" | "redis" | "r2" | "s3";
  readonly url: string;
  /** Processes that run the function and keep the data. */
  readonly processes: () => readonly number[];
  readonly stop: () => Promise<void>;
}

export async function startStore(folder: string): Promise<StoreTarget> {
  const hello = await fixtureCode("hello.ts");
  const { client, publicUrl, stop, processes } = await startIsola(folder, hello, [
    "--store-memory-mb",
    String(STORE_MEMORY_MB),
  ]);
  try {
    await deployCode(client, "store-isola", await bundleOf("store-isola.ts"));
    await deployCode(client, "store-receiver", await bundleOf("store-receiver.ts"));
  } catch (error) {
    await stop();
    throw error;
  }
  const cells = processes().flatMap(({ name, pid }) => (name === "cell" ? [pid] : []));
  const url = `${publicUrl}/function/store-isola`;
  return { name: "isola", url, processes: () => cells, stop };
}

/** Version of the Redis server, or undefined if there is none. */
export function redisVersion(): string | undefined {
  try {
    return /v=(\S+)/.exec(execFileSync("redis-server", ["--version"]).toString())?.[1];
  } catch {
    return undefined;
  }
}

async function answersAt(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  const answers = await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  });
  socket.destroy();
  return answers;
}

/** Redis as a cache: nothing is written to disk. */
async function startRedisServer(folder: string): Promise<ChildProgram> {
  const port = await freePort();
  const argv = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder];
  const child = spawn("redis-server", [...argv, "--appendonly", "no"], { stdio: "ignore" });
  const stop = endWithUs(child);
  const deadlineMs = performance.now() + REDIS_START_MS;
  while (child.exitCode === null && performance.now() < deadlineMs) {
    if (await answersAt(port)) return { port, stop, pid: child.pid ?? 0 };
    await sleep(20);
  }
  await stop();
  throw new Error("redis-server did not start");
}

/** A bare workerd that loads the function and gives it a network. */
async function startNetworked(
  folder: string,
  name: "redis" | "s3",
  place: Readonly<Record<string, unknown>>,
): Promise<ChildProgram> {
  const config = join(folder, `${name}.capnp`);
  await writeFile(join(folder, "loader.js"), await fixtureCode("networked-loader.worker.ts"));
  await writeFile(join(folder, `${name}.js`), await bundleOf(`store-${name}.ts`));
  await writeFile(join(folder, `${name}.json`), JSON.stringify(place));
  await writeFile(config, networkedConfig(name));
  return startWorkerd(config);
}

function networkedConfig(name: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "network", network = (allow = ["local", "private"])),
  ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "loader.js") ],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  bindings = [
    (name = "LOADER", workerLoader = (id = "functions")),
    (name = "NETWORK", service = "network"),
    (name = "CODE", text = embed "${name}.js"),
    (name = "PLACE", json = embed "${name}.json"),
  ],
);
`;
}

export async function startRedis(folder: string): Promise<StoreTarget> {
  const server = await startRedisServer(folder);
  try {
    const workerd = await startNetworked(folder, "redis", { REDIS_PORT: server.port });
    return {
      name: "redis",
      url: `http://127.0.0.1:${workerd.port}/`,
      processes: () => [workerd.pid, server.pid],
      stop: async () => {
        await workerd.stop();
        await server.stop();
      },
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Where miniflare answers the S3 API for its buckets. */
const S3_PATH = "cdn-cgi/local/r2/s3/";
const S3_CREDENTIALS = {
  accessKeyId: "0".repeat(32),
  secretAccessKey: "0".repeat(64),
} as const;

/** One object store, reached in two ways: by its binding, and over the S3 API. */
export async function startObjectStore(folder: string): Promise<readonly StoreTarget[]> {
  const contents = await bundleOf("store-r2.ts");
  const before = familyOf(process.pid);
  const dev = { experimentalS3Credentials: S3_CREDENTIALS };
  const miniflare = new Miniflare({
    workers: [
      {
        config: {
          name: "bench",
          compatibilityDate: COMPATIBILITY_DATE,
          env: { BUCKET: { type: "r2", name: "bench", dev } },
          manifest: {
            mainModule: "main.js",
            modulesRoot: "/",
            modules: { "main.js": { type: "esm", contents } },
          },
        },
      },
    ],
  });
  const { href } = await miniflare.ready;
  // miniflare's own workerd, which it does not name: all children of ours that are new.
  const own = familyOf(process.pid).filter((pid) => !before.includes(pid));
  const stop = (): Promise<void> => miniflare.dispose();
  try {
    const workerd = await startNetworked(folder, "s3", {
      S3_URL: `${href}${S3_PATH}bench/`,
      S3_ACCESS_KEY_ID: S3_CREDENTIALS.accessKeyId,
      S3_SECRET_ACCESS_KEY: S3_CREDENTIALS.secretAccessKey,
    });
    return [
      { name: "r2", url: href, processes: () => own, stop },
      {
        name: "s3",
        url: `http://127.0.0.1:${workerd.port}/`,
        processes: () => [workerd.pid, ...own],
        stop: () => workerd.stop(),
      },
    ];
  } catch (error) {
    await stop();
    throw error;
  }
}
