/**
 * Runs on disk and in memory: rows, journals, snapshots.
 *
 * J1 What is in memory is what the rows say, at every commit: an event and its rows are one.
 * J2 A run that waits may leave memory; it comes back from its snapshot and the events after it.
 * J3 The history of events that the journal has is not written down: it is what they make when
 *    they are applied again. With a snapshot it is, for the events that the journal drops then.
 */
import type { Sql, ValueCodec } from "../../runtime/contract/index.ts";
import type { Effect, HistoryEntry, RunEvent, RunState, Started } from "../engine/model.ts";
import { Run } from "../engine/run.ts";
import { DueQueue } from "./due-queue.ts";
import type { RunRequest } from "./model.ts";
import { Pieces } from "./pieces.ts";
import { type RunRow, STATEMENTS } from "./schema.ts";
import { Tally } from "./tally.ts";

/** A run in memory. */
export interface Live {
  readonly number: number;
  readonly id: string;
  readonly namespace: string;
  readonly request: RunRequest;
  readonly run: Run;
  readonly timers: DueQueue<string>;
  /** Sequence of the last event, and of the one that the snapshot is of. */
  head: number;
  snapshot: number;
  /** The history of the events that the journal has (J3). */
  lines: EventLines[];
  /** As its row says. */
  written: { status: string; dueAtMs: number | null; isBusy: boolean };
}

/** What the history says of one event. */
export type EventLines = readonly [sequence: number, entries: readonly HistoryEntry[]];

/** Events of a run that ends with its journal as it is: smaller than its state, and written. */
const JOURNAL_KEPT = 64;
/** Events whose lines one row has. */
const LINES_AT_ONCE = 256;
/** So much further a run's events are numbered that begins anew: ids of lines never come again. */
const ANEW = 1_000_000;

/** Runs that are looked at when one has to leave memory. */
const EVICTION_LOOKS = 16;

/** Whether each of its events is on disk; if not, a restart begins the run anew. */
export const isDurable = ({ state }: Run): boolean => state.plan?.durability !== "run";

export class RunTable {
  readonly #sql: Sql;
  readonly #codec: ValueCodec;
  readonly #pieces: Pieces;
  readonly #live = new Map<number, Live>();
  readonly #byId = new Map<string, Live>();
  readonly tally = new Tally();
  /** Lines of the run that was read last, of those that are not in memory. */
  #read: { readonly key: string; readonly lines: readonly EventLines[] } | undefined;
  #last: number;

  constructor(sql: Sql, codec: ValueCodec) {
    this.#sql = sql;
    this.#codec = codec;
    this.#pieces = new Pieces(sql);
    this.#last = sql.all(STATEMENTS.runLast)[0]?.number ?? 0;
    for (const { namespace, workflow, status, count } of sql.all(STATEMENTS.runsCounted)) {
      this.tally.found(namespace, workflow, status, count);
    }
  }

  /** A run that begins with this event. */
  insert(id: string, namespace: string, request: RunRequest, run: Run, event: Started): Live {
    this.#last += 1;
    const number = this.#last;
    const { workflow } = request;
    const encoded = this.#codec.encode(request);
    this.#sql.all(STATEMENTS.runInsert, number, id, namespace, workflow, encoded, event.atMs);
    const live: Live = {
      number,
      id,
      namespace,
      request,
      run,
      timers: new DueQueue(),
      head: 0,
      snapshot: 0,
      lines: [],
      written: { status: "queued", dueAtMs: null, isBusy: true },
    };
    this.#keep(live);
    this.tally.found(namespace, workflow, live.written.status, 1);
    return live;
  }

  /** The run of that id, if it is in memory. */
  resident(id: string): Live | undefined {
    const live = this.#byId.get(id);
    if (live) this.#touch(live);
    return live;
  }

  /** Whether there is a run of that id. */
  has(id: string): boolean {
    return this.#byId.has(id) || this.#sql.all(STATEMENTS.runNumber, id).length > 0;
  }

  row(id: string): RunRow | undefined {
    return this.#sql.all(STATEMENTS.runById, id)[0];
  }

  /** Number of the newest run that there was. */
  get last(): number {
    return this.#last;
  }

  /** Number of the run that is inserted next. */
  get next(): number {
    return this.#last + 1;
  }

  /** A run to be looked at: in memory, or made from its rows for whoever asked. */
  look(row: RunRow): { readonly request: RunRequest; readonly state: RunState } | undefined {
    const known = this.#live.get(row.number);
    if (known) return { request: known.request, state: known.run.state };
    const made = this.#rebuild(row);
    const request = this.#codec.decode(row.request) as RunRequest;
    return made && { request, state: made.run.state };
  }

  /** The history of the events that the journal has (J3). */
  lines(row: RunRow): readonly EventLines[] {
    const live = this.#live.get(row.number);
    if (live) return live.lines;
    const [journal, history] = this.#heads(row.number);
    if (journal === 0) return [];
    const key = [row.number, journal, history].join(" ");
    // A history is read page by page, and each would make the whole run again.
    if (this.#read?.key !== key) this.#read = { key, lines: this.#rebuild(row)?.lines ?? [] };
    return this.#read.lines;
  }

  rowOf(number: number): RunRow | undefined {
    return this.#sql.all(STATEMENTS.runByNumber, number)[0];
  }

  /** The run in memory, or made from its rows. Ended ones come with their last state. */
  load(row: RunRow): Live | undefined {
    const { number } = row;
    const known = this.#live.get(number);
    if (known) {
      this.#touch(known);
      return known;
    }
    const made = this.#rebuild(row);
    if (!made) return undefined;
    const { run, head, lines } = made;
    const live: Live = {
      number,
      id: row.id,
      namespace: row.namespace,
      request: this.#codec.decode(row.request) as RunRequest,
      run,
      timers: new DueQueue(),
      head,
      snapshot: row.snapshot,
      lines,
      written: { status: row.status, dueAtMs: row.dueAtMs, isBusy: row.isBusy === 1 },
    };
    this.#keep(live);
    return live;
  }

  /** The run of that number, from memory or rows. */
  byNumber(number: number): Live | undefined {
    const known = this.#live.get(number);
    if (known) return known;
    const row = this.rowOf(number);
    return row && this.load(row);
  }

  /** Writes an event down, if the durability asks for it, and the history that it made. */
  append(live: Live, event: RunEvent, isKept: boolean, entries: readonly HistoryEntry[]): void {
    live.head += 1;
    if (isKept) {
      const { number, head } = live;
      const encoded = this.#pieces.write(number, "event", head, this.#codec.encode(event));
      this.#sql.all(STATEMENTS.eventInsert, number, head, encoded);
    }
    if (entries.length > 0) live.lines.push([live.head, entries]);
    // What no journal has is kept in memory alone, so far.
    if (!isKept && live.lines.length >= LINES_AT_ONCE) this.#writeLines(live);
  }

  /** A run that is another one's request once more. */
  replay(failed: number, { id, number, request }: Live): void {
    this.#sql.all(STATEMENTS.runReplays, request.replayOf ?? "", number);
    this.#sql.all(STATEMENTS.runReplayed, id, failed);
  }

  /** One more line in the history of a run that has ended. */
  note(number: number, entry: HistoryEntry): void {
    const sequence = Math.max(...this.#heads(number)) + 1;
    this.#sql.all(STATEMENTS.historyInsert, number, sequence, linesText([[sequence, [entry]]]));
  }

  /** Brings the row up to date; while something is in flight it stays as it is. */
  update(live: Live): void {
    const { run, timers, written } = live;
    const isBusy = run.isBusy || !isDurable(run);
    const status = run.status;
    const dueAtMs = isBusy ? null : (timers.nextAtMs ?? null);
    const isSame = written.status === status && written.dueAtMs === dueAtMs;
    if (isSame && written.isBusy === isBusy) return;
    if (written.status !== status) {
      this.tally.moved(live.namespace, live.request.workflow, written.status, status);
    }
    live.written = { status, dueAtMs, isBusy };
    this.#sql.all(STATEMENTS.runUpdate, status, dueAtMs, isBusy ? 1 : 0, live.number);
  }

  /** Replaces the journal so far by the state. */
  snapshot(live: Live): void {
    const { number, head, run } = live;
    this.#pieces.dropJournal(number);
    const state = this.#pieces.write(number, "state", 0, this.#codec.encode(run.state));
    this.#sql.all(STATEMENTS.runSnapshot, head, state, number);
    this.#sql.all(STATEMENTS.eventsDrop, number, head);
    this.#writeLines(live);
    live.snapshot = live.head;
  }

  /** Only its row, history and last state stay of a run that has ended; or a short journal. */
  end(live: Live, atMs: number): void {
    const { number, head, run } = live;
    const { ended } = run.state;
    if (!ended) return;
    if (head - live.snapshot > JOURNAL_KEPT || !isDurable(run)) this.snapshot(live);
    const encoded = this.#pieces.write(number, "ended", 0, this.#codec.encode(ended));
    this.#sql.all(STATEMENTS.runEnd, ended.status, atMs, encoded, number);
    this.tally.moved(live.namespace, live.request.workflow, live.written.status, ended.status);
    live.written = { status: ended.status, dueAtMs: null, isBusy: false };
    this.#drop(number);
  }

  /** An ended run goes on. */
  reopen(live: Live): void {
    this.#sql.all(STATEMENTS.runReopen, live.number);
    this.#keep(live);
  }

  /**
   * Forgets runs that wait, the longest unused first, until at most so many are in memory. A few
   * are looked at each time: where all are busy, each look costs, and finds nothing.
   */
  evict(max: number): void {
    let looks = Math.min(this.#live.size, EVICTION_LOOKS);
    for (const [number, live] of this.#live) {
      if (this.#live.size <= max || looks === 0) return;
      looks -= 1;
      if (!live.run.isBusy && isDurable(live.run)) this.#drop(number);
      else {
        this.#live.delete(number);
        this.#live.set(number, live);
      }
    }
  }

  delete(number: number): void {
    this.#drop(number);
    this.#sql.all(STATEMENTS.eventsDrop, number, Number.MAX_SAFE_INTEGER);
    this.#sql.all(STATEMENTS.historyDelete, number);
    this.#pieces.drop(number);
    this.#sql.all(STATEMENTS.keysDelete, number);
    this.#sql.all(STATEMENTS.runDelete, number);
  }

  /** A run that waits may be in memory; one that does not is. */
  get isBusy(): boolean {
    for (const { run } of this.#live.values()) if (run.isBusy) return true;
    return false;
  }

  get residents(): number {
    return this.#live.size;
  }

  #keep(live: Live): void {
    this.#live.set(live.number, live);
    this.#byId.set(live.id, live);
  }

  /** Last used, last to leave. */
  #touch(live: Live): void {
    this.#live.delete(live.number);
    this.#live.set(live.number, live);
  }

  #drop(number: number): void {
    const live = this.#live.get(number);
    if (!live) return;
    this.#live.delete(number);
    this.#byId.delete(live.id);
  }

  #rebuild({ number, snapshot }: RunRow) {
    const [journal, history] = this.#heads(number);
    const column = this.#sql.all(STATEMENTS.runState, number)[0]?.state;
    const state = column && this.#pieces.read(number, "state", 0, column);
    let run = state ? new Run(this.#codec.decode(state) as RunState) : undefined;
    const lines: EventLines[] = [];
    for (const row of this.#sql.all(STATEMENTS.eventsAfter, number, snapshot)) {
      const encoded = this.#pieces.read(number, "event", row.sequence, row.event);
      const event = this.#codec.decode(encoded) as RunEvent;
      let effects: readonly Effect[];
      if (run) effects = run.apply(event);
      else if (event.type === "started") ({ run, effects } = Run.begin(event));
      else return undefined;
      const entries = linesOf(effects);
      if (entries.length > 0) lines.push([row.sequence, entries]);
    }
    if (!run) return undefined;
    const head = Math.max(snapshot, journal, history);
    const { form, plan, ended } = run.state;
    if (form === "code" || plan || ended) return { run, head, lines };
    // It may be of the durability that begins anew: what it did before may be written down.
    return { run, head: head + ANEW, lines: lines.filter(([sequence]) => sequence > history) };
  }

  #heads(number: number): readonly [journal: number, history: number] {
    const [journal, history] = this.#sql.all(STATEMENTS.heads, number, number);
    return [journal?.head ?? 0, history?.head ?? 0];
  }

  #writeLines(live: Live): void {
    const { number, lines } = live;
    for (let from = 0; from < lines.length; from += LINES_AT_ONCE) {
      const some = lines.slice(from, from + LINES_AT_ONCE);
      const [last = 0] = some.at(-1) ?? [];
      const text = this.#pieces.writeText(number, "lines", last, linesText(some));
      this.#sql.all(STATEMENTS.historyInsert, number, last, text);
    }
    live.lines = [];
  }
}

/** The lines that the history has of an event with these effects. */
export function linesOf(effects: readonly Effect[]): HistoryEntry[] {
  return effects.flatMap((effect) => (effect.do === "history" ? [effect.entry] : []));
}

/** As a row has them; `readLines` reads them. */
const linesText = (lines: readonly EventLines[]): string => JSON.stringify(lines);

export const readLines = (text: string): readonly EventLines[] =>
  JSON.parse(text) as readonly EventLines[];
