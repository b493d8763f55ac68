/**
 * Suspects and convictions (DESIGN §6). Pure; time comes in as an argument.
 *
 * W1 A version is convicted only by a death of the probation cell in which it ran alone.
 * W2 A suspect runs in the probation cell until one of its calls ends there without a death; one
 *    that is suspected again and again, or was convicted, also until the cell has lived on for a
 *    while: its timers and `waitUntil` may outlive the call.
 * W3 `convictionsToQuarantine` convictions within `convictionWindowMs` quarantine the version; an
 *    innocent that shared a cell with a culprit is never quarantined. It stays a suspect until the
 *    quarantine holds.
 * W4 Who cannot be seen is found out in the end: if cells go on dying and nobody is convicted, all
 *    that ran in them lately are suspects. One death from outside makes no suspects.
 * W5 Two that died in the probation cell together do not meet there again.
 */
import {
  LIMITS,
  PROBATION_SLOT,
  type SuspectKey,
  type Verdict,
  suspectKey,
} from "../contract/index.ts";

export interface VerdictEffect {
  /** The set of suspects changed: cells must know. */
  readonly changed: boolean;
  /** The version that the verdict convicts. */
  readonly convicted?: SuspectKey;
  /** To be quarantined now; `forget` it when that is done. */
  readonly quarantine?: SuspectKey;
}

/** What cells must know: whose calls leave them, and whom the probation cell keeps apart. */
export interface SuspectNews {
  readonly suspects: readonly SuspectKey[];
  readonly apart: readonly SuspectKey[];
}

/** A death this soon after another that convicted nobody is one of a series (W4). */
const SERIES_MS = 30_000;
/** Suspicions within this time make a repeated suspect (W2). */
const REPEAT_MS = 60_000;
/** How long the probation cell must live on; longer than a block takes to be ended. */
const PAROLE_MS = 3_000;

interface Record {
  isSuspect: boolean;
  /** When it goes free, if it does not kill by then. */
  paroleUntilMs: number | undefined;
  /** When it was suspected, lately. */
  readonly suspectedAtMs: number[];
  readonly convictedAtMs: number[];
}

export class Suspects {
  readonly #records = new Map<SuspectKey, Record>();
  readonly #apart = new Set<SuspectKey>();
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
      this.#endParole(key, record, nowMs);
      if (isClean(record, nowMs)) this.#records.delete(key);
    }
    return this.#isTold ? undefined : this.tell();
  }

  /** What the cells are about to be told. */
  tell(): SuspectNews {
    this.#isTold = true;
    return { suspects: this.keys, apart: [...this.#apart] };
  }

  has(key: SuspectKey, nowMs: number): boolean {
    if (this.#suspectCount === 0) return false;
    const record = this.#records.get(key);
    if (!record?.isSuspect) return false;
    this.#endParole(key, record, nowMs);
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
    const convicted = convictedBy(verdict, streaming);
    if (convicted !== undefined) return this.#convict(convicted, atMs);
    const isOwn = verdict.cause !== "CELL_LOST";
    const isSeries = isOwn && atMs - this.#unsolvedAtMs < SERIES_MS;
    if (isOwn) this.#unsolvedAtMs = atMs;
    // Who streams was seen; who left before was not.
    const named =
      verdict.late && streaming.length > 0 ? [] : verdict.suspects.map(({ key }) => key);
    const lately = isSeries ? (verdict.lately ?? []) : [];
    if (verdict.slot === PROBATION_SLOT && isOwn && !verdict.late && named.length > 1) {
      for (const key of named) this.#apart.add(key);
    }
    const before = this.#suspectCount;
    for (const key of new Set([...named, ...streaming, ...lately])) {
      const record = this.#suspect(key);
      if (!outside) noteTime(record.suspectedAtMs, atMs, REPEAT_MS);
    }
    return { changed: this.#suspectCount !== before };
  }

  /** A call of the version ended in the probation cell, which lives (W2). */
  acquit(key: SuspectKey, nowMs: number): void {
    const record = this.#records.get(key);
    if (!record?.isSuspect || record.paroleUntilMs !== undefined) return;
    const isKnown = record.suspectedAtMs.length > 1 || record.convictedAtMs.length > 0;
    if (isKnown) record.paroleUntilMs = nowMs + PAROLE_MS;
    else this.#free(key, record);
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
    this.#free(key, record);
    this.#records.delete(key);
  }

  #convict(key: SuspectKey, atMs: number): VerdictEffect {
    const record = this.#suspect(key);
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
      record = { isSuspect: false, paroleUntilMs: undefined, suspectedAtMs: [], convictedAtMs: [] };
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

  #endParole(key: SuspectKey, record: Record, nowMs: number): void {
    const { paroleUntilMs } = record;
    if (record.isSuspect && paroleUntilMs !== undefined && nowMs >= paroleUntilMs) {
      this.#free(key, record);
    }
  }

  #free(key: SuspectKey, record: Record): void {
    if (!record.isSuspect) return;
    record.isSuspect = false;
    this.#apart.delete(key);
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

/**
 * The watchdog's conviction, or what only the gateway knows: who alone streamed from there (W1).
 */
function convictedBy(verdict: Verdict, streaming: readonly SuspectKey[]): SuspectKey | undefined {
  const isOwn = verdict.cause !== "CELL_LOST";
  if (verdict.slot !== PROBATION_SLOT || !verdict.late || !isOwn) return verdict.convicted;
  const [only, ...others] = streaming;
  return only === undefined || others.length > 0 ? verdict.convicted : only;
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
