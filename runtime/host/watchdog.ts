/**
 * The watchdog of one cell: evidence in, decisions out. No clock, no I/O; a cell's life is one
 * instance of `CellWatch`.
 *
 * W1 Only the cell's own progress counts: a call entered or left, modules evaluated, or a ping
 *    answered. Console lines do not: an endless loop can print. Of what an isolate says, a call's
 *    first few words count, and as many timers between two signs of the cell's own: a loop that
 *    forges them has no more.
 * W2 A cell is blocked when its JavaScript thread burned its block time and a margin of CPU since
 *    the last evidence. Wall time alone never kills: a starved or busy machine is nobody's fault.
 *    Calls that wake together say so when they answer; many that neither begin nor end in one turn
 *    of the loop may still look like one block. They lose their cell, never their innocence (W5).
 * W3 One sample never decides. Evidence may lie unread in the pipe while this process was busy;
 *    the second sample in a row comes after everything readable was read.
 * W4 A cell that neither runs nor answers (a deadlock, a stopped process) is ended by wall time.
 * W5 Calls entered and not left are suspects. Only the probation cell convicts, and only a version
 *    that was alone in it: no other ran in this process, as it may have left something behind.
 */
import {
  type LogLine,
  type SuspectKey,
  type Verdict,
  parseSuspectKey,
  unreachable,
} from "../contract/index.ts";
import type { Crumb } from "./crumbs.ts";

export const WATCHDOG = {
  /** Block time of calls that name none, and of a cell that runs none. */
  defaultBlockMs: 1_000,
  /** Added to the block time. With the samples that decide it stays below the second (G6). */
  marginMs: 750,
  /** Silence of a thread that does not run (W4). */
  hungMs: 6_000,
  /** CPU of a thread that counts as not running, as a share of wall time. */
  idleShare: 0.1,
  /** Longest time that one sample may add to the silence (W3). */
  sampleGapMaxMs: 500,
  /** Console lines kept for one open call, and their text together. */
  linesPerCall: 100,
  bytesPerCall: 64 * 1_024,
  /** Calls held open at once; beyond it something is wrong with the cell's reports. */
  openCallsMax: 8_192,
  /** Versions that left, the last ones kept: suspects of a cell that blocks with none entered. */
  leftKept: 256,
  /** Calls that answered with promises of `waitUntil` open. Beyond: the oldest count as left. */
  backgroundMax: 256,
  /** Words of one call that count as progress: it begins, answers, ends its background. */
  wordsPerCall: 4,
  /** Timers for each open call that may fire in one turn of the loop and count. */
  timersPerCall: 4,
} as const;

/** CPU and memory of the cell's JavaScript thread at one moment. */
export interface CellSample {
  readonly atMs: number;
  /** User and system time of the main thread. */
  readonly cpuMs: number;
  /** State letter of /proc/<pid>/stat. */
  readonly state: string;
}

export type WatchDecision =
  | { readonly kind: "none" }
  | { readonly kind: "kill"; readonly cause: "MAX_BLOCK" | "CELL_LOST" };

/** How the process ended, and what the system says of it. */
export interface CellExit {
  readonly atMs: number;
  readonly signal: string | undefined;
  readonly code: number | undefined;
  /** V8 said on stderr that the heap is exhausted. */
  readonly heapExhausted: boolean;
  /** The kernel killed it for its memory, or the host did. */
  readonly memoryKilled: boolean;
}

export interface CellDeath {
  readonly verdict: Verdict;
  /** Tenant code was entered: the restart waits for nothing. */
  readonly withTenantCode: boolean;
  /** Console lines of the calls that died with the cell. */
  readonly logs: readonly LogLine[];
}

interface OpenCall {
  readonly key: SuspectKey;
  readonly blockMs: number;
  /** Promises of `waitUntil` are open: it stays entered after its answer. */
  background: boolean;
  answered: boolean;
  words: number;
  lines: LogLine[];
  bytes: number;
}

/** Signals by which a process dies of itself; SIGKILL and SIGTERM come from outside. */
const CRASH_SIGNALS = new Set(["SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGTRAP", "SIGFPE"]);

/** Of a key that nobody wrote. */
const UNKNOWN = { namespace: "", name: "", version: 0 };

const NONE: WatchDecision = { kind: "none" };

export class CellWatch {
  readonly #slot: number;
  readonly #probation: boolean;
  #open = new Map<string, OpenCall>();
  /** The last call that left, by version, oldest first. */
  readonly #left = new Map<SuspectKey, string>();
  /** Answered calls that stay entered, oldest first. */
  readonly #background = new Set<string>();
  /** CPU when the evidence was newest; undefined = the next sample sets it. */
  #cpuAtEvidenceMs: number | undefined;
  #overdue = 0;
  /** Timers that isolates said to have fired, since the cell itself said anything (W1). */
  #timers = 0;
  #previous: CellSample | undefined;
  /** Time without evidence in which the thread did not run. */
  #idleMs = 0;
  #killed: "MAX_BLOCK" | "CELL_LOST" | undefined;

  constructor(slot: number, probation: boolean) {
    this.#slot = slot;
    this.#probation = probation;
  }

  get openCalls(): number {
    return this.#open.size;
  }

  crumb(crumb: Crumb): void {
    switch (crumb.kind) {
      case "entered":
        this.#enter(crumb.callId, crumb.key, crumb.blockMs);
        break;
      case "evaluating":
        this.#enter(crumb.key, crumb.key, crumb.blockMs);
        break;
      case "left":
        for (const callId of crumb.callIds) this.#leave(callId);
        break;
      case "evaluated":
        if (crumb.key !== undefined) this.#open.delete(crumb.key);
        break;
      case "background":
        this.#setBackground(crumb.callId, crumb.open);
        return;
      case "turned":
        if (this.#timers >= WATCHDOG.timersPerCall * Math.max(1, this.#open.size)) return;
        this.#timers += 1;
        this.#progress();
        return;
      case "yielded":
        if (crumb.callId === undefined || this.#hasWord(crumb.callId)) break;
        return;
      case "console":
        this.#console(crumb);
        return;
      default:
        unreachable(crumb, "a breadcrumb has one of the kinds");
    }
    if (crumb.kind !== "yielded") this.#timers = 0;
    this.#progress();
  }

  /** The cell's event loop turned: a ping was answered. */
  answered(): void {
    this.#timers = 0;
    this.#progress();
  }

  sample(sample: CellSample): WatchDecision {
    const previous = this.#previous;
    this.#previous = sample;
    if (this.#killed !== undefined) return NONE;
    if (this.#cpuAtEvidenceMs === undefined) {
      this.#cpuAtEvidenceMs = sample.cpuMs;
      this.#idleMs = 0;
      return NONE;
    }
    if (this.#isBlocked(sample)) {
      this.#overdue += 1;
      return this.#overdue >= 2 ? this.#kill("MAX_BLOCK") : NONE;
    }
    return this.#isHung(sample, previous) ? this.#kill(hungCause(sample)) : NONE;
  }

  exit(exit: CellExit): CellDeath {
    const cause = this.#causeOf(exit);
    const late = this.#open.size === 0 && this.#isOwn(exit);
    const suspects = late ? this.#lateSuspects() : this.#suspects();
    const lately = late || !this.#isOwn(exit) ? [] : this.#lately(suspects);
    const [only, ...others] = suspects;
    // What another left behind in this process may have ended it in the one's name (W5).
    const isAlone = others.length === 0 && [...this.#left.keys()].every((key) => key === only?.key);
    const guilty = this.#probation && cause.blames && isAlone ? only : undefined;
    const verdict: Verdict = {
      slot: this.#slot,
      cause: cause.code,
      suspects,
      ...(cause.blames || this.#isOwn(exit) ? {} : { outside: true }),
      ...(late ? { late } : {}),
      ...(lately.length === 0 ? {} : { lately }),
      ...(guilty === undefined ? {} : { convicted: guilty.key }),
      atMs: exit.atMs,
    };
    const logs = [...this.#open.values()].flatMap((call) => call.lines);
    return { verdict, withTenantCode: suspects.length > 0, logs };
  }

  #causeOf(exit: CellExit): { code: Verdict["cause"]; blames: boolean } {
    if (exit.memoryKilled || exit.heapExhausted) return { code: "MEMORY_LIMIT", blames: true };
    if (this.#killed !== undefined) {
      return { code: this.#killed, blames: this.#killed === "MAX_BLOCK" };
    }
    const crashed = exit.signal === undefined ? exit.code !== 0 : CRASH_SIGNALS.has(exit.signal);
    return { code: "CELL_LOST", blames: crashed };
  }

  /** Something in the cell ended it: nobody from outside. */
  #isOwn(exit: CellExit): boolean {
    return this.#killed !== undefined || exit.memoryKilled || exit.heapExhausted;
  }

  #suspects(): Verdict["suspects"] {
    const byKey = new Map<SuspectKey, string[]>();
    for (const [callId, { key }] of this.#open) {
      const callIds = byKey.get(key);
      if (callIds) callIds.push(callId);
      else byKey.set(key, [callId]);
    }
    return [...byKey].map(([key, callIds]) => ({ key, callIds }));
  }

  /** For a cell that blocked with none entered: a timer, or promises that nobody told of. */
  #lateSuspects(): Verdict["suspects"] {
    return [...this.#left].map(([key, callId]) => ({ key, callIds: [callId] }));
  }

  #lately(suspects: Verdict["suspects"]): SuspectKey[] {
    return [...this.#left.keys()].filter((left) => !suspects.some(({ key }) => key === left));
  }

  #enter(callId: string, key: SuspectKey, blockMs: number | undefined): void {
    if (this.#open.size >= WATCHDOG.openCallsMax) return;
    this.#open.set(callId, {
      key,
      blockMs: blockMs ?? WATCHDOG.defaultBlockMs,
      background: false,
      answered: false,
      words: 0,
      lines: [],
      bytes: 0,
    });
  }

  #leave(callId: string): void {
    const call = this.#open.get(callId);
    if (call === undefined) return;
    call.answered = true;
    if (call.background) {
      this.#keepBackground(callId);
      return;
    }
    this.#open.delete(callId);
    this.#background.delete(callId);
    // Set anew: the map stays in order of the last leave.
    this.#left.delete(call.key);
    this.#left.set(call.key, callId);
    if (this.#left.size <= WATCHDOG.leftKept) return;
    const [oldest] = this.#left.keys();
    if (oldest !== undefined) this.#left.delete(oldest);
  }

  /** Bounded: the end of a call that was dropped is never said. */
  #keepBackground(callId: string): void {
    this.#background.add(callId);
    if (this.#background.size <= WATCHDOG.backgroundMax) return;
    const [oldest] = this.#background;
    if (oldest !== undefined) this.#setBackground(oldest, false);
  }

  #hasWord(callId: string): boolean {
    const call = this.#open.get(callId);
    if (call === undefined) return false;
    call.words += 1;
    return call.words <= WATCHDOG.wordsPerCall;
  }

  #setBackground(callId: string, open: boolean): void {
    const call = this.#open.get(callId);
    if (call === undefined) return;
    call.background = open;
    if (!open && call.answered) this.#leave(callId);
  }

  #console(crumb: Crumb & { kind: "console" }): void {
    const call = this.#open.get(crumb.callId);
    if (call === undefined) return;
    const { namespace, name, version } = parseSuspectKey(call.key) ?? UNKNOWN;
    const { callId, atMs, level, text } = crumb;
    const about = { namespace, function: name, version };
    call.lines.push({ callId, ...about, atMs, level, text });
    call.bytes += text.length;
    while (call.lines.length > WATCHDOG.linesPerCall || call.bytes > WATCHDOG.bytesPerCall) {
      const dropped = call.lines.shift();
      if (dropped === undefined) break;
      call.bytes -= dropped.text.length;
    }
  }

  #progress(): void {
    this.#cpuAtEvidenceMs = undefined;
    this.#overdue = 0;
  }

  #isBlocked(sample: CellSample): boolean {
    const burnedMs = sample.cpuMs - (this.#cpuAtEvidenceMs ?? sample.cpuMs);
    return burnedMs > this.#allowedMs();
  }

  /** The most patient of the calls that are in the cell decides. */
  #allowedMs(): number {
    if (this.#open.size === 0) return WATCHDOG.defaultBlockMs + WATCHDOG.marginMs;
    let blockMs = 0;
    for (const call of this.#open.values()) blockMs = Math.max(blockMs, call.blockMs);
    return blockMs + WATCHDOG.marginMs;
  }

  #isHung(sample: CellSample, previous: CellSample | undefined): boolean {
    const elapsedMs = previous === undefined ? 0 : sample.atMs - previous.atMs;
    const ranMs = previous === undefined ? 0 : sample.cpuMs - previous.cpuMs;
    const idle = "ST".includes(sample.state) && ranMs <= elapsedMs * WATCHDOG.idleShare;
    // A gap between samples says that this process was stopped, not the cell (W3).
    this.#idleMs = idle ? this.#idleMs + Math.min(elapsedMs, WATCHDOG.sampleGapMaxMs) : 0;
    return this.#idleMs > WATCHDOG.hungMs;
  }

  #kill(cause: "MAX_BLOCK" | "CELL_LOST"): WatchDecision {
    this.#killed = cause;
    return { kind: "kill", cause };
  }
}

/** A process that somebody stopped blames nobody. */
function hungCause(sample: CellSample): "MAX_BLOCK" | "CELL_LOST" {
  return sample.state === "T" ? "CELL_LOST" : "MAX_BLOCK";
}
