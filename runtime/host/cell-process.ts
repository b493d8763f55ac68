/**
 * A cell: one supervised workerd process with its watchdog, limits and breadcrumbs.
 *
 * E1 The watchdog sees everything the process wrote before it is asked what its death means: the
 *    exit is taken after the end of its output.
 * E2 A death that was asked for makes nobody a suspect.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import {
  CELL_CONTROL,
  type CellInfo,
  type CellState,
  type DiskReport,
  type ErrorData,
  IsolaError,
  PROBATION_SLOT,
  parseErrorData,
  unreachable,
} from "../contract/index.ts";
import type { ChildExit, ChildSpec } from "./child.ts";
import { type CellSettings, ENVIRONMENT, cellConfig } from "./config.ts";
import { readCrumbs } from "./crumbs.ts";
import type { ProcessName } from "./layout.ts";
import type { Life } from "./lifecycle.ts";
import type { ProcessLog } from "./process-log.ts";
import { readMainThread, readMemory } from "./proc.ts";
import { type ProcessRole, SupervisedProcess } from "./supervised-process.ts";
import type { Surroundings } from "./surroundings.ts";
import { UnixClient, parseJson } from "./unix-http.ts";
import { type CellDeath, CellWatch } from "./watchdog.ts";
import { prepareWorkerd } from "./workerd-role.ts";

export interface CellParts {
  readonly around: Surroundings;
  readonly settings: CellSettings;
  readonly code: string;
  readonly memoryMb: number;
  /** It died, or was ended, without being asked to. */
  readonly died: (death: CellDeath) => void;
  readonly changed: () => void;
}

/** What a cell's process may use beyond its functions' memory: code, stacks, the loader itself. */
const OVERHEAD_BYTES = 64 * 1_024 * 1_024;
/** Share of the memory above which idle isolates are asked to leave. */
const SOFT_SHARE = 0.8;
/** Threads and processes of one workerd; it has two, and V8 some of its own. */
const PROCESSES_MAX = 64;
const PING_BOUND_MS = 30_000;
/** CPU that a cell burned since the last question, or time that went by, until the next one. */
const PING_CPU_MS = 50;
const PING_IDLE_MS = 1_000;
const PRESSURE_BOUND_MS = 5_000;
const HEAP_MESSAGE =
  /heap out of memory|Reached heap limit|invalid array length Allocation failed/i;

export class CellProcess {
  readonly process: SupervisedProcess;
  readonly settings: CellSettings;
  readonly #parts: CellParts;
  readonly #control: UnixClient;
  readonly #log: ProcessLog;
  readonly #mark = randomBytes(16).toString("hex");
  readonly #memoryMaxBytes: number;
  #watch: CellWatch;
  #group: string | undefined;
  #generation = 0;
  #pinging = false;
  #pinged = { atMs: 0, cpuMs: 0 };
  #cpuMs = 0;
  #relieving = false;
  #heapExhausted = false;
  #memoryKilled = false;

  constructor(parts: CellParts) {
    const { around, settings } = parts;
    this.#parts = parts;
    this.settings = settings;
    this.#control = new UnixClient(around.layout.cellControl(settings.slot));
    this.#log = around.openLog(this.name);
    this.#memoryMaxBytes = parts.memoryMb * 1_024 * 1_024 + OVERHEAD_BYTES;
    this.#watch = this.#newWatch();
    this.process = new SupervisedProcess(this.#role(), {
      timers: around.timers,
      now: () => around.clock.now(),
      outputPath: around.layout.outputPipe(this.name),
      logFile: this.#log.path,
    });
  }

  get name(): ProcessName {
    return `cell-${this.settings.slot}`;
  }

  get info(): CellInfo {
    const { slot, role, namespace } = this.settings;
    const { pid, restarts, startedAtMs } = this.process;
    const memory = pid === undefined ? undefined : readMemory(pid);
    const thread = pid === undefined ? undefined : readMainThread(pid);
    return {
      slot,
      ...(namespace === undefined ? {} : { namespace }),
      role,
      state: stateOf(this.process.life),
      restarts,
      ...(pid === undefined ? {} : { pid }),
      ...(startedAtMs === undefined ? {} : { startedAtMs }),
      ...(memory === undefined ? {} : { residentBytes: memory.residentBytes }),
      ...(thread === undefined ? {} : { cpuMs: thread.cpuMs }),
    };
  }

  /** One look of the watchdog. */
  sample(): void {
    const { pid, life } = this.process;
    if (pid === undefined || life.phase !== "up") return;
    const thread = readMainThread(pid);
    if (thread === undefined) return;
    const atMs = this.#parts.around.timers.monotonicMs();
    this.#cpuMs = thread.cpuMs;
    // What it wrote counts before its silence does.
    this.process.readOutput();
    const decision = this.#watch.sample({ atMs, cpuMs: thread.cpuMs, state: thread.state });
    if (decision.kind === "none") return;
    this.#parts.around.event("warn", this.name, `ended by the watchdog: ${decision.cause}`);
    this.process.kill();
  }

  /** Asks whether the event loop turns; one question at a time, and few of a cell that idles. */
  ping(): void {
    if (this.#pinging || this.process.life.phase !== "up") return;
    const nowMs = this.#parts.around.timers.monotonicMs();
    const busy = this.#cpuMs - this.#pinged.cpuMs >= PING_CPU_MS;
    if (!busy && nowMs - this.#pinged.atMs < PING_IDLE_MS) return;
    this.#pinged = { atMs: nowMs, cpuMs: this.#cpuMs };
    this.#pinging = true;
    const watch = this.#watch;
    this.#control
      .send("GET", CELL_CONTROL.ping, PING_BOUND_MS)
      .then(() => watch.answered())
      .catch(() => undefined)
      .finally(() => {
        this.#pinging = false;
      });
  }

  /** Asks for memory above the soft limit; ends the process above the hard one (no cgroup did). */
  checkMemory(): void {
    const { pid, life } = this.process;
    if (pid === undefined || life.phase !== "up") return;
    const memory = readMemory(pid);
    if (memory === undefined) return;
    if (memory.anonymousBytes > this.#memoryMaxBytes) {
      this.#memoryKilled = true;
      this.process.kill();
      return;
    }
    const softLimitBytes = Math.floor(this.#parts.memoryMb * 1_024 * 1_024 * SOFT_SHARE);
    if (memory.anonymousBytes <= softLimitBytes || this.#relieving) return;
    this.#relieving = true;
    const report = { residentBytes: memory.anonymousBytes, softLimitBytes };
    this.#control
      .send("POST", CELL_CONTROL.pressure, PRESSURE_BOUND_MS, report)
      .catch(() => undefined)
      .finally(() => {
        this.#relieving = false;
      });
  }

  /** The next look tells it again. */
  tellDisk(freeBytes: number): void {
    if (this.settings.ownShards.length === 0 || this.process.life.phase !== "up") return;
    const news: DiskReport = { freeBytes };
    this.#control.send("POST", CELL_CONTROL.disk, PRESSURE_BOUND_MS, news).catch(() => undefined);
  }

  async drain(boundMs: number): Promise<void> {
    if (this.process.life.phase !== "up") return;
    await this.#control.send("POST", CELL_CONTROL.drain, boundMs, {}).catch(() => undefined);
  }

  close(): void {
    this.#control.reset();
    this.#log.close();
  }

  #newWatch(): CellWatch {
    const { slot } = this.settings;
    return new CellWatch(slot, slot === PROBATION_SLOT);
  }

  #role(): ProcessRole {
    return {
      name: this.name,
      prepare: () => Promise.resolve(this.#prepare()),
      spawned: (pid) => this.#spawned(pid),
      probe: () => this.#probe(),
      output: (line) => this.#output(line),
      errorOutput: (line) => {
        if (HEAP_MESSAGE.test(line)) this.#heapExhausted = true;
        this.#log.write(`${line}\n`);
      },
      exited: (exit, expected) => this.#exited(exit, expected),
      changed: () => this.#parts.changed(),
    };
  }

  #prepare(): Pick<ChildSpec, "command" | "environment" | "descriptors"> {
    const { around, settings, code, memoryMb } = this.#parts;
    this.#control.reset();
    return prepareWorkerd(
      {
        name: this.name,
        config: cellConfig(around.layout, settings, memoryMb),
        code,
        environment: { [ENVIRONMENT.mark]: this.#mark },
        withoutNetwork: true,
        experimental: true,
      },
      around,
    );
  }

  #spawned(pid: number): void {
    const { around } = this.#parts;
    this.#watch = this.#newWatch();
    this.#pinging = false;
    this.#pinged = { atMs: 0, cpuMs: 0 };
    this.#cpuMs = 0;
    this.#heapExhausted = false;
    this.#memoryKilled = false;
    around.processesChanged();
    around.event("debug", this.name, `started with pid ${pid}`);
    preferAsVictim(pid);
    if (around.cgroups === undefined) return;
    this.#generation += 1;
    this.#group = `${this.name}-${this.#generation}`;
    const limits = { memoryMaxBytes: this.#memoryMaxBytes, processesMax: PROCESSES_MAX };
    try {
      around.cgroups.create(this.#group, limits);
      around.cgroups.join(this.#group, pid);
    } catch (error) {
      around.event("warn", this.name, `runs without a cgroup: ${String(error)}`);
    }
  }

  /** Throws what the cell says is damaged. */
  async #probe(): Promise<boolean> {
    let reply;
    try {
      reply = await this.#control.send("GET", CELL_CONTROL.ping, PRESSURE_BOUND_MS);
    } catch {
      return false;
    }
    if (reply.status < 300) return true;
    const data = parseErrorData(parseJson(reply.text));
    if (data?.code === "DATA_CORRUPT") throw this.#damage(data);
    return false;
  }

  #damage(data: ErrorData): IsolaError {
    const found = `${this.#parts.around.layout.workerdDir(this.name)}: ${data.parts.found}`;
    return new IsolaError(data.code, { ...data.parts, found });
  }

  #output(line: string): void {
    const crumbs = readCrumbs(line, this.#mark);
    if (crumbs === undefined) {
      this.#log.write(`${line}\n`);
      return;
    }
    for (const crumb of crumbs) this.#watch.crumb(crumb);
  }

  #exited(exit: ChildExit, expected: boolean): { readonly withTenantCode: boolean } {
    const { around } = this.#parts;
    const kernelKilled = this.#group !== undefined && this.#oomKills() > 0;
    const death = this.#watch.exit({
      ...exit,
      atMs: around.clock.now(),
      heapExhausted: this.#heapExhausted,
      memoryKilled: this.#memoryKilled || kernelKilled,
    });
    if (this.#group !== undefined) void around.cgroups?.remove(this.#group);
    this.#group = undefined;
    around.processesChanged();
    if (expected) return { withTenantCode: false };
    const how = exit.signal ?? `status ${exit.code ?? "unknown"}`;
    const { cause, suspects } = death.verdict;
    const keys = suspects.map(({ key }) => key).join(", ");
    around.event("warn", this.name, `died (${how}): ${cause}${keys === "" ? "" : `; ${keys}`}`);
    this.#log.write(`isola: died (${how}): ${cause}\n`);
    this.#parts.died(death);
    return { withTenantCode: death.withTenantCode };
  }

  #oomKills(): number {
    return this.#parts.around.cgroups?.oomKills(this.#group ?? "") ?? 0;
  }
}

/** When the whole machine is out of memory, a cell goes before the gateway and the host. */
function preferAsVictim(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, "500");
  } catch {
    // No Linux, or gone already.
  }
}

/** Longest time between two looks of the watchdog, and between questions. */
export const WATCH_PERIODS = { sampleMs: 100, pingMs: 200, memoryMs: 1_000 } as const;

function stateOf(life: Life): CellState {
  switch (life.phase) {
    case "up":
      return "up";
    case "starting":
      return "starting";
    case "waiting":
    case "stopping":
      return "down";
    case "stopped":
      return "stopped";
    default:
      return unreachable(life, "a process has one of the phases");
  }
}
