/**
 * What is remembered of each function: recent lines and records within a budget of memory, series
 * of its own within a bound.
 *
 * T1 `#bytes` is the sum of `bytes` over all entries, and at most `memoryMaxBytes` after every
 *    addition: the entry idle longest loses lines and records first.
 * T2 Series outlive lines and records; they leave with the entry, by `forget` or beyond
 *    `functionsMax`.
 * T3 A function's own bounds hold whatever the others do; dropped lines are counted per function.
 */
import type { CallRecord, LogLine } from "../contract/index.ts";
import { FunctionSeries } from "./call-series.ts";
import type { TelemetryLimits } from "./limits.ts";
import { Ring } from "./ring.ts";
import { utf8Bytes } from "./text.ts";
import type { UsageSlot } from "./usage-ledger.ts";

/** What a line or a record takes besides its text; an estimate of V8's objects. */
const LINE_BYTES = 160;
const RECORD_BYTES = 320;

/** A line with its number among all lines. */
export interface KeptLine {
  readonly number: number;
  readonly line: LogLine;
}

export interface FunctionEntry {
  readonly namespace: string;
  readonly name: string;
  readonly series: FunctionSeries;
  readonly usage: UsageSlot;
  readonly lines: Ring<KeptLine>;
  readonly calls: Ring<CallRecord>;
  textBytes: number;
  /** Against the budget of all functions. */
  bytes: number;
  droppedLines: number;
  /** False once it lost its lines and records; `touch` brings it back into the order of use. */
  listed: boolean;
  /** Neighbours in the order of use; undefined at the ends. */
  newer: FunctionEntry | undefined;
  older: FunctionEntry | undefined;
}

export class FunctionTable {
  readonly #limits: TelemetryLimits;
  readonly #namespaces = new Map<string, Map<string, FunctionEntry>>();
  readonly #other: FunctionSeries;
  /** Entries with nothing to lose, in the order they lost it. */
  readonly #emptied = new Set<FunctionEntry>();
  #newest: FunctionEntry | undefined;
  #oldest: FunctionEntry | undefined;
  #size = 0;
  #ownSeries = 0;
  #bytes = 0;

  constructor(limits: TelemetryLimits) {
    this.#limits = limits;
    this.#other = new FunctionSeries("other", limits.codesPerFunction);
  }

  get size(): number {
    return this.#size;
  }

  /** Memory that lines and records take. */
  get bytes(): number {
    return this.#bytes;
  }

  find(namespace: string, name: string): FunctionEntry | undefined {
    return this.#namespaces.get(namespace)?.get(name);
  }

  /** The entry, made if there is none, and now the one used last. */
  touch(namespace: string, name: string): FunctionEntry {
    const entry = this.#namespaces.get(namespace)?.get(name);
    if (entry === undefined) return this.#add(namespace, name);
    if (entry !== this.#newest) {
      if (entry.listed) this.#unlink(entry);
      else this.#emptied.delete(entry);
      this.#link(entry);
    }
    return entry;
  }

  /** Entries of a namespace, or the one of a function. */
  select(namespace: string, name?: string): FunctionEntry[] {
    const entries = this.#namespaces.get(namespace);
    if (entries === undefined) return [];
    if (name === undefined) return [...entries.values()];
    const entry = entries.get(name);
    return entry ? [entry] : [];
  }

  /** Series of all functions; those without their own share the last. */
  *series(): Generator<FunctionSeries> {
    for (const entries of this.#namespaces.values()) {
      for (const entry of entries.values()) if (entry.series !== this.#other) yield entry.series;
    }
    if (this.#other.started > 0 || this.#other.finished > 0) yield this.#other;
  }

  /** Keeps a line; the number of lines that left for it. */
  addLine(entry: FunctionEntry, kept: KeptLine): number {
    const textBytes = utf8Bytes(kept.line.text);
    const before = entry.droppedLines;
    entry.textBytes += textBytes;
    this.#charge(entry, textBytes + LINE_BYTES);
    const left = entry.lines.push(kept);
    if (left) this.#dropLine(entry, left.line);
    while (entry.textBytes > this.#limits.logBytesPerFunction && entry.lines.length > 1) {
      const oldest = entry.lines.shift();
      if (oldest) this.#dropLine(entry, oldest.line);
    }
    return entry.droppedLines - before + this.#shrink();
  }

  /** Keeps a record; the number of lines that left for it. */
  addCall(entry: FunctionEntry, record: CallRecord): number {
    if (entry.calls.push(record) === undefined) this.#charge(entry, RECORD_BYTES);
    return this.#shrink();
  }

  forget(namespace: string, name?: string): void {
    for (const entry of this.select(namespace, name)) this.#remove(entry);
  }

  #add(namespace: string, name: string): FunctionEntry {
    if (this.#size >= this.#limits.functionsMax) this.#removeIdlest();
    const hasOwn = this.#ownSeries < this.#limits.functionSeriesMax;
    const label = `${name}.${namespace}`;
    const entry: FunctionEntry = {
      namespace,
      name,
      series: hasOwn ? new FunctionSeries(label, this.#limits.codesPerFunction) : this.#other,
      usage: { row: undefined, epoch: 0 },
      lines: new Ring(this.#limits.logLinesPerFunction),
      calls: new Ring(this.#limits.callsPerFunction),
      textBytes: 0,
      bytes: 0,
      droppedLines: 0,
      listed: true,
      newer: undefined,
      older: undefined,
    };
    if (hasOwn) this.#ownSeries += 1;
    let entries = this.#namespaces.get(namespace);
    if (entries === undefined) {
      entries = new Map();
      this.#namespaces.set(namespace, entries);
    }
    entries.set(name, entry);
    this.#size += 1;
    this.#link(entry);
    return entry;
  }

  #remove(entry: FunctionEntry): void {
    const entries = this.#namespaces.get(entry.namespace);
    entries?.delete(entry.name);
    if (entries?.size === 0) this.#namespaces.delete(entry.namespace);
    if (entry.series !== this.#other) this.#ownSeries -= 1;
    this.#bytes -= entry.bytes;
    this.#size -= 1;
    if (entry.listed) this.#unlink(entry);
    else this.#emptied.delete(entry);
  }

  #removeIdlest(): void {
    for (const entry of this.#emptied) {
      this.#remove(entry);
      return;
    }
    if (this.#oldest) this.#remove(this.#oldest);
  }

  /** Keeps T1; the number of lines that left. */
  #shrink(): number {
    let dropped = 0;
    while (this.#bytes > this.#limits.memoryMaxBytes && this.#oldest) {
      const entry = this.#oldest;
      dropped += entry.lines.length;
      entry.droppedLines += entry.lines.length;
      this.#bytes -= entry.bytes;
      entry.bytes = 0;
      entry.textBytes = 0;
      entry.lines.clear();
      entry.calls.clear();
      this.#unlink(entry);
      this.#emptied.add(entry);
    }
    return dropped;
  }

  #dropLine(entry: FunctionEntry, line: LogLine): void {
    const textBytes = utf8Bytes(line.text);
    entry.textBytes -= textBytes;
    entry.droppedLines += 1;
    this.#charge(entry, -textBytes - LINE_BYTES);
  }

  #charge(entry: FunctionEntry, bytes: number): void {
    entry.bytes += bytes;
    this.#bytes += bytes;
  }

  #link(entry: FunctionEntry): void {
    entry.listed = true;
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest) this.#newest.newer = entry;
    this.#newest = entry;
    this.#oldest ??= entry;
  }

  #unlink(entry: FunctionEntry): void {
    entry.listed = false;
    if (entry.newer) entry.newer.older = entry.older;
    else this.#newest = entry.older;
    if (entry.older) entry.older.newer = entry.newer;
    else this.#oldest = entry.newer;
  }
}
