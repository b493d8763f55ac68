/**
 * Suspects and convictions (DESIGN §6). Pure; time comes in as an argument.
 *
 * W1 A version is convicted only by a death of the probation cell in a process in which nobody
 *    else ran: what another left behind there would speak against it.
 * W2 A suspect runs in the probation cell until one of its calls ends there without a death; one
 *    that is suspected again and again, or was convicted, also until the cell has lived on for a
 *    while: its timers and `waitUntil` may outlive the call.
 * W3 `convictionsToQuarantine` convictions within `convictionWindowMs` quarantine the version; an
 *    innocent that shared a cell with a culprit is never quarantined. It stays a suspect until the
 *    quarantine holds.
 * W4 Who cannot be seen is found out in the end: if cells go on dying and nobody is convicted, all
 *    that ran in them lately are suspects. One death from outside makes no suspects.
 * W5 Who died in the probation cell in company is put on trial, alone; if cleared, its company
 *    is.
 */
import {
  LIMITS,
  PROBATION_SLOT,
  type SuspectKey,
  type SuspectNews,
  type Verdict,
  suspectKey,
} from "../contract/index.ts";
import { TRIAL_MS } from "./probation-room.ts";

export interface VerdictEffect {
  /** The set of suspects changed: cells must know. */
  readonly changed: boolean;
  /** The version that the verdict convicts. */
  readonly convicted?: SuspectKey;
  /** To be quarantined now; `forget` it when that is done. */
  readonly quarantine?: SuspectKey;
}

/** A death this soon after another that convicted nobody is one of a series (W4). */
const SERIES_MS = 30_000;
/** Suspicions within this time make a repeated suspect (W2). */
const REPEAT_MS = 60_000;
/** How long the probation cell must live on; longer than a block takes to be ended. */
const PAROLE_MS = TRIAL_MS;
/** Each further suspicion doubles it. */
const PAROLE_MAX_MS = 30_000;

interface Record {
  isSuspect: boolean;
  /** When it goes free, if it does not kill by then. */
  paroleUntilMs: number | undefined;
  /** When it was suspected, lately. */
  /** Runs in the probation cell with nobody before it in that process. */
  isOnTrial: boolean;
  /** Who ran in the process in which it died: next, if it is cleared. */
  company: readonly SuspectKey[];
  readonly suspectedAtMs: number[];
  readonly convictedAtMs: number[];
}

export class Suspects {
  readonly #records = new Map<SuspectKey, Record>();
  #suspectCount = 0;
  #convictionCount = 0;
  #unsolvedAtMs = Number.NEGATIVE_INFINITY;
  #outsideAtMs = Number.NEGATIVE_INFINITY;
  #isTold = true;

  get keys(): readonly SuspectKey[] {
    return [...this.#records].filter(([, one]) => one.isSuspect).map(([key]) => key);
  }

  get convictions(): number {
    return this.#convictionCount;
  }

  /** News for the cells, if there are any since the last time. */
  news(nowMs: number): SuspectNews | undefined {
    for (const [key, record] of this.#records) {
      this.#endParole(record, nowMs);
      if (isClean(record, nowMs)) this.#records.delete(key);
    }
    return this.#isTold ? undefined : this.tell();
  }

  /** What the cells are about to be told. */
  tell(): SuspectNews {
    this.#isTold = true;
    return this.current();
  }

  current(): SuspectNews {
    const { keys } = this;
    return { suspects: keys, alone: keys.filter((key) => this.isOnTrial(key)) };
  }

  isOnTrial(key: SuspectKey): boolean {
    return this.#records.get(key)?.isOnTrial ?? false;
  }

  has(key: SuspectKey, nowMs: number): boolean {
    if (this.#suspectCount === 0) return false;
    const record = this.#records.get(key);
    if (!record?.isSuspect) return false;
    this.#endParole(record, nowMs);
    return record.isSuspect;
  }

  /**
   * Takes a verdict in.
   *
   * @param streaming versions that were still streaming from the dead cell: their calls had
   *   answered, so the watchdog cannot name them.
   */
  take(given: Verdict, streaming: readonly SuspectKey[]): VerdictEffect {
    const verdict = withoutProbes(given);
    const { atMs, outside } = verdict;
    if (outside && !this.#isOutsideSeries(atMs)) return { changed: false };
    if (verdict.convicted !== undefined) return this.#convict(verdict.convicted, atMs);
    const isOwn = verdict.cause !== "CELL_LOST";
    const isSeries = isOwn && atMs - this.#unsolvedAtMs < SERIES_MS;
    if (isOwn) this.#unsolvedAtMs = atMs;
    const named = verdict.suspects.map(({ key }) => key);
    const lately = verdict.lately ?? [];
    // Who streams was seen; who left before was not.
    const seen = verdict.late && streaming.length > 0 ? streaming : [...named, ...streaming];
    const isTrial = verdict.slot === PROBATION_SLOT && isOwn;
    const company = [...named, ...lately].filter((key) => !seen.includes(key));
    const before = this.#suspectCount;
    for (const key of new Set([...seen, ...(isSeries && !isTrial ? lately : [])])) {
      const record = this.#suspect(key);
      if (!outside) noteTime(record.suspectedAtMs, atMs, REPEAT_MS);
      if (!isTrial) continue;
      record.isOnTrial = true;
      record.company = company;
    }
    return { changed: isTrial || this.#suspectCount !== before };
  }

  /** A call of the version ended in the probation cell, which lives (W2). */
  acquit(key: SuspectKey, nowMs: number): void {
    const record = this.#records.get(key);
    if (!record?.isSuspect || record.paroleUntilMs !== undefined) return;
    const times = record.suspectedAtMs.length;
    const isKnown = times > 1 || record.convictedAtMs.length > 0 || record.isOnTrial;
    const paroleMs = Math.min(PAROLE_MAX_MS, PAROLE_MS * 2 ** Math.max(0, times - 2));
    if (isKnown) record.paroleUntilMs = nowMs + paroleMs;
    else this.#free(record);
  }

  /** Every version of a function: its record is clean. */
  forgetFunction(namespace: string, name: string): void {
    const prefix = suspectKey(namespace, name, 0).slice(0, -1);
    for (const key of this.#records.keys()) if (key.startsWith(prefix)) this.forget(key);
  }

  /** Quarantined, released by hand, or gone: its record is clean. */
  forget(key: SuspectKey): void {
    const record = this.#records.get(key);
    if (!record) return;
    this.#free(record);
    this.#records.delete(key);
  }

  #convict(key: SuspectKey, atMs: number): VerdictEffect {
    const record = this.#suspect(key);
    record.company = [];
    this.#convictionCount += 1;
    noteTime(record.suspectedAtMs, atMs, REPEAT_MS);
    noteTime(record.convictedAtMs, atMs, LIMITS.convictionWindowMs);
    const isEnough = record.convictedAtMs.length >= LIMITS.convictionsToQuarantine;
    return { changed: true, convicted: key, ...(isEnough ? { quarantine: key } : {}) };
  }

  /** One cell killed from outside is nobody's fault; more of them may be a call's, by some way. */
  #isOutsideSeries(atMs: number): boolean {
    const isSeries = atMs - this.#outsideAtMs < SERIES_MS;
    this.#outsideAtMs = atMs;
    return isSeries;
  }

  #suspect(key: SuspectKey): Record {
    let record = this.#records.get(key);
    if (!record) {
      record = {
        isSuspect: false,
        paroleUntilMs: undefined,
        isOnTrial: false,
        company: [],
        suspectedAtMs: [],
        convictedAtMs: [],
      };
      this.#records.set(key, record);
    }
    if (!record.isSuspect) {
      record.isSuspect = true;
      this.#suspectCount += 1;
      this.#isTold = false;
    }
    record.paroleUntilMs = undefined;
    return record;
  }

  #endParole(record: Record, nowMs: number): void {
    const { paroleUntilMs } = record;
    if (record.isSuspect && paroleUntilMs !== undefined && nowMs >= paroleUntilMs) {
      const { company } = record;
      this.#free(record);
      for (const other of company) this.#suspect(other).isOnTrial = true;
    }
  }

  #free(record: Record): void {
    if (!record.isSuspect) return;
    record.isSuspect = false;
    record.isOnTrial = false;
    record.company = [];
    record.paroleUntilMs = undefined;
    this.#suspectCount -= 1;
    this.#isTold = false;
  }
}

function isProbe(key: SuspectKey): boolean {
  return key.endsWith("@0");
}

/** A probe is no version: its deploy fails, and nothing is left to suspect. */
function withoutProbes(verdict: Verdict): Verdict {
  const { convicted, ...rest } = verdict;
  return {
    ...rest,
    suspects: rest.suspects.filter(({ key }) => !isProbe(key)),
    ...(convicted === undefined || isProbe(convicted) ? {} : { convicted }),
  };
}

function recent(times: readonly number[], nowMs: number, windowMs: number): number[] {
  return times.filter((atMs) => nowMs - atMs < windowMs);
}

/** Adds a time and drops those out of the window. */
function noteTime(times: number[], atMs: number, windowMs: number): void {
  times.splice(0, times.length, ...recent(times, atMs, windowMs), atMs);
}

function isClean(record: Record, nowMs: number): boolean {
  if (record.isSuspect) return false;
  if (recent(record.suspectedAtMs, nowMs, REPEAT_MS).length > 0) return false;
  return recent(record.convictedAtMs, nowMs, LIMITS.convictionWindowMs).length === 0;
}
