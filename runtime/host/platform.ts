/**
 * The composition root of the host form: opens the data, starts the processes, connects them, and
 * takes everything down again.
 *
 * H1 Whatever fails while it starts, nothing is left running and nothing half-written.
 * H2 Processes start in the order in which they need each other: egress, gateway, cells. They end
 *    in the opposite order, after the gateway has drained within its bound.
 * H3 A second platform on the same data refuses (data-lock.ts); one after a killed host sweeps
 *    what was left: processes, sockets, cgroups.
 */
import { rmSync } from "node:fs";
import type { Server } from "node:http";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import {
  type CellInfo,
  type Clock,
  LIMITS,
  type LogLevel,
  systemClock,
} from "../contract/index.ts";
import { type Capabilities, findCapabilities } from "./capabilities.ts";
import { CellFleet } from "./cell-fleet.ts";
import { Cgroups } from "./cgroup.ts";
import { ENVIRONMENT, egressConfig, gatewayConfig } from "./config.ts";
import { type BucketOptions, bucketEnvironment, coldConfig, placeOf } from "./cold-process.ts";
import { type OpenData, applyDirectoryRules, openData } from "./data-directory.ts";
import { watchDisconnects } from "./disconnects.ts";
import { GatewayLink } from "./gateway-link.ts";
import { serveHost } from "./host-server.ts";
import { type Layout, allSlots, socketDirectories } from "./layout.ts";
import { Reaper, endLeftovers, recordProcesses } from "./leftovers.ts";
import { diskFree, metricsOf } from "./metering.ts";
import { ListeningPort } from "./ports.ts";
import { ProcessLog } from "./process-log.ts";
import { readRelease, workerdPath } from "./release.ts";
import { type RunsKept, type StoreRoom, budgetsOf } from "./shard-budgets.ts";
import { placeShards } from "./shard-files.ts";
import type { SupervisedProcess } from "./supervised-process.ts";
import type { PlatformEvent, Surroundings } from "./surroundings.ts";
import { type Cancel, type Timers, systemTimers, within } from "./system-timers.ts";
import { FAILED_STARTS_MAX, trustedProcess, watchHeartbeat } from "./trusted-process.ts";
import { certificateEnvironment } from "./certificates.ts";
import { UnixClient } from "./unix-http.ts";
import { type WorkerName, bundleWorker } from "./worker-bundle.ts";
import { giveTree, identityIn, prepareWorkerd } from "./workerd-role.ts";
import { syncFile, writeWhole } from "./whole-file.ts";

export interface PlatformOptions {
  readonly dataDir: string;
  /** @default "127.0.0.1" */
  readonly host?: string;
  /** 0 = any free one. @default 8080 */
  readonly port?: number;
  /** @default "127.0.0.1" */
  readonly adminHost?: string;
  /** 0 = any free one. @default 8081 */
  readonly adminPort?: number;
  /** Shared cells. @default cores minus one, at least one */
  readonly cells?: number | undefined;
  /** Fixed at first start. @default as many as cells */
  readonly shards?: number | undefined;
  /** CIDRs of private addresses that functions may reach. */
  readonly allowPrivate?: readonly string[];
  /** @default `<dataDir>.key` */
  readonly keyFile?: string | undefined;
  readonly dev?: boolean;
  readonly otlpEndpoint?: string | undefined;
  readonly otlpHeaders?: string | undefined;
  /** @default 1024 */
  readonly cellMemoryMb?: number;
  /** Bucket of the store's third tier. @default none: disk is the last one */
  readonly bucket?: BucketOptions | undefined;
  /** Of each shard. */
  readonly storeRoom?: StoreRoom;
  /** How long each shard keeps ended runs, and how many. @default 7 days, 100,000 */
  readonly runs?: RunsKept;
  /** Least level of what `onEvent` gets. @default "info" */
  readonly logLevel?: LogLevel;
  readonly onEvent?: (event: PlatformEvent) => void;
}

export interface Platform {
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  cells(): readonly CellInfo[];
  /** Drains and ends everything; idempotent. */
  stop(): Promise<void>;
  /** Resolves when the platform is no more. */
  readonly exited: Promise<{ readonly reason: string }>;
}

/** What tests replace. */
export interface PlatformParts {
  readonly bundle: (name: WorkerName) => Promise<{ readonly code: string }>;
  readonly timers: Timers;
  readonly clock: Clock;
  /** Undefined: found out by trying. */
  readonly capabilities?: Capabilities;
}

const REAL_PARTS: PlatformParts = {
  bundle: bundleWorker,
  timers: systemTimers,
  clock: systemClock,
};

const DEFAULT_CELL_MEMORY_MB = 1_024;
const METRICS_PERIOD_MS = 5_000;
/** Shards count what they write in between. */
const DISK_PERIOD_MS = 1_000;
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/**
 * Starts a platform; resolves when it answers.
 *
 * @throws IsolaError DATA_IN_USE, DATA_VERSION, DATA_CORRUPT, PORT_IN_USE, DISK_FULL, START_FAILED;
 *   nothing is left running then.
 */
export function startPlatform(options: PlatformOptions): Promise<Platform> {
  return startPlatformWith(options, REAL_PARTS);
}

/** `startPlatform` with parts of a test's own. */
export async function startPlatformWith(
  options: PlatformOptions,
  overrides: Partial<PlatformParts>,
): Promise<Platform> {
  const parts = { ...REAL_PARTS, ...overrides };
  const release = await readRelease();
  const cells = options.cells ?? Math.max(1, availableParallelism() - 1);
  const data = openData({
    dataDir: options.dataDir,
    keyFile: options.keyFile,
    shards: options.shards ?? cells,
    release,
  });
  const running = new RunningPlatform(options, parts, data, { cells, release });
  try {
    await running.start();
    return running.platform;
  } catch (error) {
    await running.abandon();
    throw error;
  }
}

type Program = "gateway" | "egress" | "cold" | "cell";

interface Derived {
  readonly cells: number;
  readonly release: string;
}

class RunningPlatform {
  readonly platform: Platform;
  readonly #options: PlatformOptions;
  readonly #parts: PlatformParts;
  readonly #data: OpenData;
  readonly #derived: Derived;
  readonly #publicPort: ListeningPort;
  readonly #adminPort: ListeningPort;
  readonly #link: GatewayLink;
  readonly #logs: ProcessLog[] = [];
  readonly #ended = Promise.withResolvers<{ readonly reason: string }>();
  #trusted: SupervisedProcess[] = [];
  #fleet: CellFleet | undefined;
  #around: Surroundings | undefined;
  #server: Server | undefined;
  #reaper: Reaper | undefined;
  #timers: Cancel[] = [];
  #stopping: Promise<void> | undefined;

  constructor(options: PlatformOptions, parts: PlatformParts, data: OpenData, derived: Derived) {
    this.#options = options;
    this.#parts = parts;
    this.#data = data;
    this.#derived = derived;
    const { host = "127.0.0.1", port = 8_080 } = options;
    const { adminHost = "127.0.0.1", adminPort = 8_081 } = options;
    this.#publicPort = new ListeningPort({ host, port, flag: "--port" });
    this.#adminPort = new ListeningPort({ host: adminHost, port: adminPort, flag: "--admin-port" });
    this.#link = new GatewayLink(new UnixClient(data.layout.gatewayControl()), parts.timers);
    const [publicPort, admin] = [this.#publicPort, this.#adminPort];
    this.platform = {
      get publicUrl() {
        return publicPort.url;
      },
      get adminUrl() {
        return admin.url;
      },
      adminToken: data.adminToken,
      cells: () => this.#fleet?.report().cells ?? [],
      stop: () => this.#stop("stopped"),
      exited: this.#ended.promise,
    };
  }

  async start(): Promise<void> {
    const { layout } = this.#data;
    await this.#publicPort.open();
    await this.#adminPort.open();
    await endLeftovers(layout, this.#parts.timers);
    placeShards({
      shards: this.#data.shards,
      cells: this.#derived.cells,
      slots: allSlots(LIMITS.cellSlots),
      stateDir: (slot) => layout.stateDir(`cell-${slot}`),
    });
    const [programs, around] = await Promise.all([this.#bundleAll(), this.#surround()]);
    this.#around = around;
    const { users } = around.capabilities;
    applyDirectoryRules(socketDirectories(layout, allSlots(LIMITS.cellSlots), users));
    if (around.capabilities.setpriv === undefined) this.#reaper = new Reaper();
    const fleet = this.#makeFleet(around, programs.cell);
    this.#fleet = fleet;
    this.#server = await serveHost(layout.host(), {
      cells: () => fleet.report(),
      restartCell: (slot) => fleet.restart(slot),
      dedicate: (namespace, count) => fleet.dedicate(namespace, count),
      keepBundle: (hash) => syncFile(join(layout.blobsDir, hash)),
    });
    const egress = this.#makeEgress(around, programs.egress);
    await this.#startTrusted(egress);
    const cold = this.#makeCold(around, programs.cold);
    if (cold !== undefined) await this.#startTrusted(cold);
    const gateway = this.#makeGateway(around, programs.gateway);
    await this.#startTrusted(gateway);
    this.#data.keepRegistry();
    await fleet.start();
    this.#tellDisk();
    this.#startTimers();
    this.#timers.push(watchHeartbeat(gateway, () => this.#link.isReady(), around));
    this.#writePidFile(layout);
  }

  /** Takes back a start that failed (H1). */
  async abandon(): Promise<void> {
    await this.#end();
    this.#data.close(true);
  }

  #stop(reason: string): Promise<void> {
    this.#stopping ??= this.#drainAndEnd(reason);
    return this.#stopping;
  }

  async #drainAndEnd(reason: string): Promise<void> {
    const drained = await within(this.#parts.timers, LIMITS.drainMs, this.#link.drain(), false);
    if (!drained) this.#event("warn", "host", "calls were in flight when the drain bound was over");
    await this.#end();
    this.#data.close(false);
    this.#ended.resolve({ reason });
  }

  /** Ends everything in the order of H2; safe at any stage of a start. */
  async #end(): Promise<void> {
    for (const cancel of this.#timers) cancel();
    await this.#fleet?.stop();
    for (const process of this.#trusted.toReversed()) await process.stop();
    this.#link.setUp(false);
    this.#server?.closeAllConnections();
    this.#server?.close();
    this.#publicPort.close();
    this.#adminPort.close();
    this.#reaper?.close();
    await this.#around?.cgroups?.removeAll();
    for (const log of this.#logs) log.close();
    const { layout } = this.#data;
    // Sockets, pid file and the list of processes; the lock's file stays, its holder is open.
    for (const { path } of socketDirectories(layout, allSlots(LIMITS.cellSlots), undefined)) {
      rmSync(path, { recursive: true, force: true });
    }
    for (const path of [layout.pidFile, layout.processesFile]) rmSync(path, { force: true });
    if (layout.socketRoot !== layout.runDir) rmSync(layout.socketRoot, { force: true });
  }

  async #bundleAll(): Promise<Readonly<Record<Program, string>>> {
    const [gateway, egress, cold, cell] = await Promise.all(
      (["gateway", "egress", "cold", "cell"] as const).map(async (name) => {
        const { code } = await this.#parts.bundle(name);
        return code;
      }),
    );
    return { gateway: gateway ?? "", egress: egress ?? "", cold: cold ?? "", cell: cell ?? "" };
  }

  async #surround(): Promise<Surroundings> {
    const { layout } = this.#data;
    const workerd = workerdPath();
    const reachable = [layout.runDir, workerd];
    const { capabilities = await findCapabilities({ reachable }) } = this.#parts;
    const cgroups =
      capabilities.cgroups === undefined
        ? undefined
        : new Cgroups(capabilities.cgroups, this.#parts.timers);
    cgroups?.sweep();
    return {
      layout,
      timers: this.#parts.timers,
      clock: this.#parts.clock,
      capabilities,
      cgroups,
      workerd,
      openLog: (name) => {
        const log = new ProcessLog(layout.log(name));
        this.#logs.push(log);
        return log;
      },
      event: (level, process, text) => this.#event(level, process, text),
      processesChanged: () => this.#recordProcesses(),
    };
  }

  #makeFleet(around: Surroundings, code: string): CellFleet {
    return new CellFleet({
      around,
      code,
      sharedCells: this.#derived.cells,
      shards: this.#data.shards,
      budgets: budgetsOf(this.#options.storeRoom ?? {}),
      runs: this.#options.runs ?? {},
      hasColdTier: this.#options.bucket !== undefined,
      memoryMb: this.#options.cellMemoryMb ?? DEFAULT_CELL_MEMORY_MB,
      link: this.#link,
    });
  }

  #makeEgress(around: Surroundings, code: string): SupervisedProcess {
    const { layout } = around;
    const client = new UnixClient(layout.egress());
    return trustedProcess({
      name: "egress",
      around,
      prepare: async () =>
        prepareWorkerd(
          {
            name: "egress",
            config: egressConfig(layout, this.#options.allowPrivate ?? []),
            code,
            environment: certificateEnvironment(layout),
            withoutNetwork: false,
            experimental: false,
          },
          around,
        ),
      probe: () => answers(client),
      changed: () => client.reset(),
    });
  }

  /** Undefined where no bucket is configured. The bucket itself may be away at any time. */
  #makeCold(around: Surroundings, code: string): SupervisedProcess | undefined {
    const { layout } = around;
    const { bucket } = this.#options;
    if (bucket === undefined) return undefined;
    const place = placeOf(bucket, this.#data.installation);
    const sizes = { cells: this.#derived.cells, shards: this.#data.shards };
    const client = new UnixClient(layout.coldControl());
    return trustedProcess({
      name: "cold",
      around,
      prepare: async () =>
        prepareWorkerd(
          {
            name: "cold",
            config: coldConfig(layout, place, sizes),
            code,
            environment: { ...certificateEnvironment(layout), ...bucketEnvironment(bucket) },
            withoutNetwork: false,
            experimental: false,
          },
          around,
        ),
      probe: () => answers(client),
      changed: () => client.reset(),
    });
  }

  #makeGateway(around: Surroundings, code: string): SupervisedProcess {
    const { layout } = around;
    const { dev = false, otlpEndpoint = "", otlpHeaders = "" } = this.#options;
    const ports = [this.#publicPort, this.#adminPort];
    const startedAtMs = this.#parts.clock.now();
    let failedStarts = 0;
    return trustedProcess({
      name: "gateway",
      around,
      prepare: async () => {
        for (const port of ports) await port.open();
        giveTree(layout.blobsDir, identityIn(around, "gateway"));
        const settings = {
          form: "host",
          dev,
          publicPort: this.#publicPort.port,
          version: this.#derived.release,
          startedAtMs,
          otlpEndpoint,
          otlpHeaders,
          allowPrivate: this.#options.allowPrivate ?? [],
          cells: this.#derived.cells,
          shards: this.#data.shards,
        } as const;
        const environment = {
          ...certificateEnvironment(layout),
          [ENVIRONMENT.sealKey]: this.#data.sealKey,
          [ENVIRONMENT.adminToken]: this.#data.adminToken,
        };
        return prepareWorkerd(
          {
            name: "gateway",
            config: gatewayConfig(layout, settings),
            code,
            environment,
            withoutNetwork: false,
            experimental: false,
            inherited: [
              { name: "public", descriptor: this.#publicPort.descriptor() },
              { name: "admin", descriptor: this.#adminPort.descriptor() },
            ],
          },
          around,
        );
      },
      spawned: () => {
        for (const port of ports) port.close();
      },
      probe: () => this.#link.isReady(),
      changed: (life) => {
        // A gateway that starts knows no cells: it gets the report before anything else.
        if (life.phase === "up" && this.#fleet) this.#link.cells(this.#fleet.report());
        this.#link.setUp(life.phase === "up");
        if (life.phase === "up") failedStarts = 0;
        if (life.phase === "waiting") failedStarts += 1;
        if (failedStarts > FAILED_STARTS_MAX) this.#giveUp();
      },
    });
  }

  /** A platform without its gateway is none: better to end, and be started anew. */
  #giveUp(): void {
    const reason = `the gateway did not come back in ${FAILED_STARTS_MAX} starts`;
    this.#event("error", "gateway", reason);
    void this.#stop(reason);
  }

  async #startTrusted(process: SupervisedProcess): Promise<void> {
    this.#trusted.push(process);
    await process.start();
  }

  #startTimers(): void {
    const { timers } = this.#parts;
    this.#timers.push(
      timers.every(METRICS_PERIOD_MS, () => this.#link.metrics(this.#metrics())),
      timers.every(DISK_PERIOD_MS, () => this.#tellDisk()),
      watchDisconnects(timers, this.#publicPort, (clients) => this.#link.disconnects(clients)),
    );
  }

  #processes(): { name: string; pid: number }[] {
    const trusted = this.#trusted.flatMap(({ name, pid }) => (pid ? [{ name, pid }] : []));
    return [...trusted, ...(this.#fleet?.processes() ?? [])];
  }

  #tellDisk(): void {
    const { diskFreeBytes } = diskFree(this.#data.layout.dataDir);
    if (diskFreeBytes !== undefined) this.#fleet?.tellDisk(diskFreeBytes);
  }

  #metrics(): ReturnType<typeof metricsOf> {
    const processes = [{ name: "host", pid: process.pid }, ...this.#processes()];
    return metricsOf(processes, this.#data.layout.dataDir);
  }

  #recordProcesses(): void {
    const pids = this.#processes().map(({ pid }) => pid);
    this.#reaper?.watch(pids);
    try {
      recordProcesses(this.#data.layout, pids);
    } catch (error) {
      this.#event("warn", "host", `cannot record processes: ${String(error)}`);
    }
  }

  #writePidFile(layout: Layout): void {
    const { publicUrl, adminUrl } = this.platform;
    const running = { pid: process.pid, publicUrl, adminUrl };
    writeWhole(layout.pidFile, `${JSON.stringify(running)}\n`, 0o644);
  }

  #event(level: LogLevel, name: string, text: string): void {
    const least = LEVELS.indexOf(this.#options.logLevel ?? "info");
    if (LEVELS.indexOf(level) < least) return;
    this.#options.onEvent?.({ atMs: this.#parts.clock.now(), level, process: name, text });
  }
}

const PROBE_BOUND_MS = 5_000;

/** Any answer will do: the process serves. */
async function answers(client: UnixClient): Promise<boolean> {
  try {
    await client.send("GET", "/", PROBE_BOUND_MS);
    return true;
  } catch {
    return false;
  }
}
