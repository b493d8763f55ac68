/**
 * What is told of runs: rows, pages, histories, states. Reads alone, and leaves nothing in memory.
 *
 * L1 A namespace sees its own runs; those of others are as if they were not (G6).
 * L2 A page costs at most `SCAN_ROWS` rows, however rare what is looked for is: it may come short,
 *    even empty, with a cursor to go on. Runs that begin meanwhile are on none of the pages after.
 * L3 Each line of a history has an id; after the same id the same lines follow, for ever.
 */
import { IsolaError, type Sql, type ValueCodec } from "../../runtime/contract/index.ts";
import type { RunState, RunStatus } from "../engine/model.ts";
import type {
  FoundRun,
  HistoryLine,
  HistoryPage,
  RunFilter,
  RunLine,
  RunPage,
  RunRequest,
  RunSummary,
} from "./model.ts";
import { Pieces } from "./pieces.ts";
import { type EventLines, type RunTable, readLines } from "./run-table.ts";
import { type RunRow, STATEMENTS } from "./schema.ts";
import type { TallyRow } from "./tally.ts";

const PAGE_MAX = 1_000;
const SCAN_ROWS = 5_000;
/** A row has the lines of a few hundred events, each of which may begin thousands of steps. */
const HISTORY_ROWS = 2;
const HISTORY_LINES = 2_000;

/** A run as a whole. Its state belongs to the coordinator: it is read, never changed. */
export interface RunView {
  readonly summary: RunSummary;
  readonly request: RunRequest;
  readonly state: RunState;
}

export class RunReader {
  readonly #sql: Sql;
  readonly #codec: ValueCodec;
  readonly #table: RunTable;
  readonly #pieces: Pieces;

  constructor(sql: Sql, codec: ValueCodec, table: RunTable) {
    this.#sql = sql;
    this.#codec = codec;
    this.#table = table;
    this.#pieces = new Pieces(sql);
  }

  show(namespace: string, id: string): RunSummary {
    return this.#summary(this.#row(namespace, id));
  }

  find(id: string): FoundRun | undefined {
    const row = this.#table.row(id);
    if (!row) return undefined;
    const { version } = this.#codec.decode(row.request) as RunRequest;
    const { namespace } = row;
    return { ...this.#summary(row), namespace, ...(version !== undefined && { version }) };
  }

  inspect(namespace: string, id: string): RunView {
    const row = this.#row(namespace, id);
    const found = this.#table.look(row);
    if (!found) throw notFound(id);
    return { summary: this.#summary(row), ...found };
  }

  /** Errors: `RUN_NOT_FOUND`, `RUN_STATE` if it is no run that failed. */
  failed(namespace: string, id: string): RunRow {
    const row = this.#row(namespace, id);
    if (row.status === "failed") return row;
    throw new IsolaError("RUN_STATE", {
      attempted: `replay the run ${id}`,
      found: `the status ${row.status}`,
      required: "a run that failed",
    });
  }

  list(namespace: string, filter: RunFilter): RunPage {
    const { workflow = null, status = null, sinceMs = 0, isDeadOnly = false, cursor } = filter;
    const limit = Math.min(Math.max(filter.limit ?? 100, 1), PAGE_MAX);
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor);
    if (!Number.isSafeInteger(before) || before < 0) throw badCursor("list runs", cursor ?? "");
    const isFiltered = workflow !== null || status !== null || sinceMs > 0 || isDeadOnly;
    const [last] = isFiltered
      ? this.#sql.all(STATEMENTS.runsFloor, namespace, before, SCAN_ROWS - 1)
      : [];
    const floor = last?.number ?? 0;
    const where = [namespace, before, floor, workflow, workflow, status, status, sinceMs] as const;
    const dead = isDeadOnly ? 1 : 0;
    const rows = this.#sql.all(STATEMENTS.runsListed, ...where, dead, limit + 1);
    const page = rows.slice(0, limit).map((row) => this.#line(row));
    // What is older than the oldest row looked at began before it.
    const rest = last && last.startedAtMs >= sinceMs ? floor : undefined;
    const next = rows.length > limit ? page.at(-1)?.number : rest;
    return {
      runs: page,
      last: this.#table.last,
      ...(next !== undefined && { cursor: String(next) }),
    };
  }

  /** When the namespace's oldest run that is open began. */
  oldestOpen(namespace: string): number | undefined {
    return this.#sql.all(STATEMENTS.runOldestOpen, namespace)[0]?.startedAtMs ?? undefined;
  }

  /** How many runs there are in which status: for metrics. */
  tally(): TallyRow[] {
    return this.#table.tally.rows();
  }

  /** Whether there is a line after that one. */
  hasMore(namespace: string, id: string, after: string): boolean {
    return this.#lines(namespace, id, after, 1).length > 0;
  }

  history(namespace: string, id: string, after: string): HistoryPage {
    const lines = this.#lines(namespace, id, after, HISTORY_LINES);
    return { entries: lines, after: lines.at(-1)?.id ?? after };
  }

  #lines(namespace: string, id: string, after: string, max: number): HistoryLine[] {
    const row = this.#row(namespace, id);
    const [sequence, index] = placeOf(after);
    const lines: HistoryLine[] = [];
    for (const [event, entries] of this.#events(row, sequence)) {
      const first = event === sequence ? index + 1 : 0;
      for (const [at, entry] of entries.slice(first, first + max).entries()) {
        lines.push({ id: `${String(event)}.${String(first + at)}`, ...entry });
      }
      if (lines.length >= max) break;
    }
    return lines;
  }

  /** Lines of events from that one on, in their order; as many are read as are taken. */
  *#events(row: RunRow, sequence: number): Generator<EventLines> {
    const others = this.#table.lines(row);
    let next = firstFrom(others, sequence);
    for (const lines of this.#written(row.number, sequence)) {
      for (let other = others[next]; other && other[0] < lines[0]; other = others[next]) {
        yield other;
        next += 1;
      }
      yield lines;
    }
    for (let other = others[next]; other; other = others[next]) {
      yield other;
      next += 1;
    }
  }

  /** Those that have rows; a row holds those of several events under the last one's number. */
  *#written(run: number, sequence: number): Generator<EventLines> {
    for (let from = sequence; ;) {
      const rows = this.#sql.all(STATEMENTS.historyFrom, run, from, HISTORY_ROWS);
      for (const row of rows) {
        const text = this.#pieces.readText(run, "lines", row.sequence, row.entries);
        for (const lines of readLines(text)) if (lines[0] >= sequence) yield lines;
      }
      const last = rows.at(-1);
      if (!last || rows.length < HISTORY_ROWS) return;
      from = last.sequence + 1;
    }
  }

  #row(namespace: string, id: string): RunRow {
    const row = this.#table.row(id);
    if (row?.namespace !== namespace) throw notFound(id);
    return row;
  }

  #line({ number, failure, ...row }: ListedRow): RunLine {
    const { id, workflow, status, startedAtMs, endedAtMs } = row;
    const ended = failure && this.#ended(number, failure);
    const error = ended?.error;
    return {
      number,
      id,
      workflow,
      status: status as RunStatus,
      startedAtMs,
      ...(endedAtMs !== null && { endedAtMs }),
      ...(error && { error }),
      ...replays(row),
    };
  }

  #ended(number: number, column: Uint8Array): NonNullable<RunSummary["ended"]> {
    const encoded = this.#pieces.read(number, "ended", 0, column);
    return this.#codec.decode(encoded) as NonNullable<RunSummary["ended"]>;
  }

  #summary(row: RunRow): RunSummary {
    const { number, id, workflow, status, startedAtMs, endedAtMs, ended } = row;
    return {
      id,
      workflow,
      status: status as RunStatus,
      startedAtMs,
      ...(endedAtMs !== null && { endedAtMs }),
      ...(ended && { ended: this.#ended(number, ended) }),
      ...replays(row),
    };
  }
}

function replays({
  replayOf,
  replayedAs,
}: Pick<RunRow, "replayOf" | "replayedAs">): Pick<RunSummary, "replayOf" | "replayedAs"> {
  return {
    ...(replayOf !== null && { replayOf }),
    ...(replayedAs !== null && { replayedAs }),
  };
}

type ListedRow = ReturnType<NonNullable<(typeof STATEMENTS.runsListed)["types"]>>;

/** Index of the first that is of that event or a later one; they stand in order. */
function firstFrom(lines: readonly EventLines[], sequence: number): number {
  let [low, high] = [0, lines.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((lines[middle]?.[0] ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function notFound(id: string): IsolaError {
  return new IsolaError("RUN_NOT_FOUND", { attempted: `find the run ${id}`, found: "none" });
}

/** Sequence of the row, and index in it; before all of them at first. */
function placeOf(after: string): readonly [sequence: number, index: number] {
  if (after === "") return [0, 0];
  const match = /^(\d{1,12})\.(\d{1,8})$/.exec(after);
  if (!match) throw badCursor("read the history of a run", after);
  return [Number(match[1]), Number(match[2])];
}

function badCursor(attempted: string, cursor: string): IsolaError {
  return new IsolaError("REQUEST_INVALID", {
    attempted,
    found: `the cursor ${JSON.stringify(cursor.slice(0, 40))}`,
    required: "what the page before ended with",
  });
}
