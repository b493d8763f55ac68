/** Console lines: kept per function, asked for by query, handed to followers as they come. */
import { IsolaError, type LogLine } from "../contract/index.ts";
import type { PlatformSeries } from "./call-series.ts";
import type { FunctionTable } from "./function-table.ts";
import type { TelemetryLimits } from "./limits.ts";
import type { LogAnswer, LogFilter, LogQuery } from "./telemetry-hub.ts";
import { cutText } from "./text.ts";

interface Follower {
  readonly name: string | undefined;
  readonly onLine: (line: LogLine) => void;
}

const QUERY_LINES = 1_000;

export class LogBook {
  readonly #limits: TelemetryLimits;
  readonly #table: FunctionTable;
  readonly #series: PlatformSeries;
  /** By namespace, so that lines nobody follows cost one look. */
  readonly #followers = new Map<string, Set<Follower>>();
  #followerCount = 0;

  constructor(limits: TelemetryLimits, table: FunctionTable, series: PlatformSeries) {
    this.#limits = limits;
    this.#table = table;
    this.#series = series;
  }

  add(line: LogLine): void {
    const text = cutText(line.text, this.#limits.logLineMaxBytes);
    const kept = text === line.text ? line : { ...line, text };
    const entry = this.#table.touch(kept.namespace, kept.function);
    this.#series.logLines += 1;
    this.#series.logLinesDropped += this.#table.addLine(entry, kept);
    const followers = this.#followers.get(kept.namespace);
    if (followers === undefined) return;
    for (const follower of followers) this.#tell(followers, follower, kept);
  }

  query(query: LogQuery): LogAnswer {
    const limit = boundOf(query.limit ?? QUERY_LINES, this.#limits.queryMax);
    const sinceMs = query.sinceMs ?? 0;
    const lines: LogLine[] = [];
    let droppedLines = 0;
    for (const entry of this.#table.select(query.namespace, query.function)) {
      droppedLines += entry.droppedLines;
      for (let index = 0; index < entry.lines.length; index += 1) {
        const line = entry.lines.at(index);
        if (line === undefined || line.atMs < sinceMs) continue;
        if (query.callId === undefined || line.callId === query.callId) lines.push(line);
      }
    }
    // Stable: lines of one function and moment stay in the order in which they came.
    lines.sort((a, b) => a.atMs - b.atMs);
    return { lines: lines.slice(Math.max(0, lines.length - limit)), droppedLines };
  }

  follow(filter: LogFilter, onLine: (line: LogLine) => void): () => void {
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

  #tell(followers: Set<Follower>, follower: Follower, line: LogLine): void {
    if (follower.name !== undefined && follower.name !== line.function) return;
    if (!followers.has(follower)) return;
    try {
      follower.onLine(line);
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
