/** Console lines: kept per function, asked for by query, handed to followers as they come. */
import { type Clock, IsolaError, type LogLine } from "../contract/index.ts";
import type { PlatformSeries } from "./call-series.ts";
import type { FunctionTable, KeptLine } from "./function-table.ts";
import type { TelemetryLimits } from "./limits.ts";
import type { LogAnswer, LogFilter, LogQuery } from "./telemetry-hub.ts";
import { cutText } from "./text.ts";

interface Follower {
  readonly name: string | undefined;
  readonly onLine: (line: LogLine, cursor: string) => void;
}

const QUERY_LINES = 1_000;

export class LogBook {
  readonly #limits: TelemetryLimits;
  readonly #table: FunctionTable;
  readonly #series: PlatformSeries;
  /** By namespace, so that lines nobody follows cost one look. */
  readonly #followers = new Map<string, Set<Follower>>();
  #followerCount = 0;
  #lastNumber = 0;
  readonly #clock: Clock;
  /** Tells the cursors of this book from those of the one before a restart. Made when it is needed
   *  first: workerd has no time while modules are evaluated. */
  #markText = "";

  constructor(limits: TelemetryLimits, table: FunctionTable, series: PlatformSeries, clock: Clock) {
    this.#clock = clock;
    this.#limits = limits;
    this.#table = table;
    this.#series = series;
  }

  add(line: LogLine): void {
    const text = cutText(line.text, this.#limits.logLineMaxBytes);
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const kept = { number, line: text === line.text ? line : { ...line, text } };
    const entry = this.#table.touch(line.namespace, line.function);
    this.#series.logLines += 1;
    this.#series.logLinesDropped += this.#table.addLine(entry, kept);
    const followers = this.#followers.get(line.namespace);
    if (followers === undefined) return;
    for (const follower of followers) this.#tell(followers, follower, kept);
  }

  query(query: LogQuery): LogAnswer {
    const limit = boundOf(query.limit ?? QUERY_LINES, this.#limits.queryMax);
    const sinceMs = query.sinceMs ?? 0;
    const after = this.#numberOf(query.after);
    const found: KeptLine[] = [];
    let droppedLines = 0;
    for (const entry of this.#table.select(query.namespace, query.function)) {
      droppedLines += entry.droppedLines;
      for (let index = 0; index < entry.lines.length; index += 1) {
        const kept = entry.lines.at(index);
        if (kept === undefined || kept.number <= after || kept.line.atMs < sinceMs) continue;
        if (query.callId === undefined || kept.line.callId === query.callId) found.push(kept);
      }
    }
    found.sort((a, b) => a.line.atMs - b.line.atMs || a.number - b.number);
    const newest = found.slice(Math.max(0, found.length - limit));
    return {
      lines: newest.map(({ line }) => line),
      cursors: newest.map(({ number }) => this.#cursorOf(number)),
      droppedLines,
    };
  }

  follow(filter: LogFilter, onLine: (line: LogLine, cursor: string) => void): () => void {
    if (this.#followerCount >= this.#limits.followersMax) {
      throw new IsolaError("CAPACITY", {
        attempted: `follow the logs of ${filter.namespace}`,
        found: `${this.#followerCount} followers`,
        required: `at most ${this.#limits.followersMax} at a time`,
        fix: "end another isola logs --follow",
      });
    }
    const follower: Follower = { name: filter.function, onLine };
    const followers = this.#followers.get(filter.namespace) ?? new Set();
    this.#followers.set(filter.namespace, followers);
    followers.add(follower);
    this.#followerCount += 1;
    return () => {
      this.#stop(filter.namespace, followers, follower);
    };
  }

  get #mark(): string {
    this.#markText ||= `${this.#clock.now().toString(36)}-`;
    return this.#markText;
  }

  #cursorOf(number: number): string {
    return this.#mark + number.toString(36);
  }

  #numberOf(cursor: string | undefined): number {
    if (!cursor?.startsWith(this.#mark)) return 0;
    const number = Number.parseInt(cursor.slice(this.#mark.length), 36);
    return Number.isSafeInteger(number) ? number : 0;
  }

  #tell(followers: Set<Follower>, follower: Follower, { line, number }: KeptLine): void {
    if (follower.name !== undefined && follower.name !== line.function) return;
    if (!followers.has(follower)) return;
    try {
      follower.onLine(line, this.#cursorOf(number));
    } catch {
      // A follower that fails has gone away; the others and the caller are not concerned.
      this.#stop(line.namespace, followers, follower);
    }
  }

  #stop(namespace: string, followers: Set<Follower>, follower: Follower): void {
    if (!followers.delete(follower)) return;
    this.#followerCount -= 1;
    if (followers.size === 0 && this.#followers.get(namespace) === followers) {
      this.#followers.delete(namespace);
    }
  }
}

/** A limit as a query gave it, within 0 and `max`. */
export function boundOf(limit: number, max: number): number {
  return Number.isNaN(limit) ? max : Math.min(Math.max(0, Math.floor(limit)), max);
}
