/**
 * The film pipeline, with accidents: in the middle of the load its cell is killed, later the sink.
 * The run goes on from where it was, its caller hears one answer, and every figure adds up.
 */
import { join } from "node:path";
import type { EtlRequest, EtlResult, Tally } from "../etl/records.ts";
import {
  type Platform,
  check,
  milliseconds,
  number,
  packageFile,
  say,
  seconds,
} from "./platform.ts";
import { type Account, SinkProcess } from "./sink-process.ts";
import { serveSource } from "./source.ts";

const SOURCE = packageFile("vega-datasets/data/movies.json");
const BATCH_RECORDS = 100;
/** Batches that are in the sink when something is killed. */
const CELL_DIES_AT = 8;
const SINK_DIES_AT = 20;
const SINK_AWAY_MS = 300;

/** Processes that were killed, in order. */
type Deaths = Promise<string>[];

export async function runFilms(platform: Platform, folder: string): Promise<void> {
  const source = await serveSource(SOURCE);
  const deaths: Deaths = [];
  const sink = new SinkProcess(join(folder, "films.sqlite"), (count) => {
    if (count === CELL_DIES_AT) deaths.push(killCell(platform));
    if (count === SINK_DIES_AT) deaths.push(restart(sink));
  });
  try {
    await sink.start();
    const fromMs = performance.now();
    const request: EtlRequest = {
      source: source.url,
      sink: sink.url,
      batchRecords: BATCH_RECORDS,
    };
    const result = await platform.value<EtlResult>("etl", request);
    const died = await Promise.all(deaths);
    say(`8. Films: movies.json of vega-datasets through the workflow etl (${seconds(fromMs)})`);
    printResult(result, source.reads.length);
    printAccount(result, await sink.account(), died);
    await printSteps(platform);
  } finally {
    await sink.stop();
    source.close();
  }
}

async function killCell({ client }: Platform): Promise<string> {
  const cell = (await client.cells()).find(({ role }) => role === "shared");
  check(cell?.pid !== undefined, "there is no cell to kill");
  process.kill(cell?.pid ?? 0, "SIGKILL");
  return `cell ${String(cell?.slot)} (process ${String(cell?.pid)})`;
}

async function restart(sink: SinkProcess): Promise<string> {
  await sink.kill();
  await new Promise((resolve) => setTimeout(resolve, SINK_AWAY_MS));
  await sink.start();
  return `the sink, for ${String(SINK_AWAY_MS)} ms`;
}

function printResult(result: EtlResult, reads: number): void {
  const { recordsIn, batches, rejectedRecords, films } = result;
  say(`   in        ${number(recordsIn)} records in ${String(batches)} batches, each a checkpoint`);
  printTallies(`rejected  ${number(rejectedRecords)} records, with reasons`, result.rejectedBy);
  printTallies("repaired, in the records that stayed", result.correctedBy);
  say(`   out       ${number(films)} films, ${String(result.groups)} groups by genre and decade`);
  check(recordsIn > 3_000, `the source holds ${String(recordsIn)} records`);
  check(recordsIn === rejectedRecords + films, "records in are not those rejected and out");
  check(reads >= batches, `the source was read ${String(reads)} times`);
}

function printTallies(heading: string, tallies: readonly Tally[]): void {
  say(`   ${heading}`);
  for (const { name, count, example } of tallies) {
    const shown = example.length > 64 ? `${example.slice(0, 63)}…` : example;
    say(`     ${number(count).padStart(5)}  ${name.padEnd(20)} ${shown}`);
  }
}

function printAccount(result: EtlResult, account: Account, died: readonly string[]): void {
  const { batches, arrivals, films, loads, rejects, best } = account;
  for (const death of died) say(`   killed with -9 in the middle: ${death}`);
  say(`   SQLite    ${number(films)} films, ${number(rejects)} rejects, each once;`);
  say(`             ${String(batches)} batches, ${String(arrivals - batches)} of which came again`);
  const shown = best.map(({ name, returnRatio }) => `${name} ${returnRatio.toFixed(2)}`);
  say(`   gross per dollar of budget, best genres: ${shown.join(", ")}`);
  check(died.length === 2, `${String(died.length)} processes were killed, not two`);
  check(films === result.films, `SQLite holds ${String(films)} films`);
  check(loads === films, `${String(loads)} films were loaded, for ${String(films)}`);
  check(rejects === result.rejectedRecords, `SQLite holds ${String(rejects)} rejects`);
  check(batches === result.batches, `SQLite holds ${String(batches)} batches`);
}

/** What the run's own history says of each kind of step. */
async function printSteps({ client }: Platform): Promise<void> {
  const [run] = (await client.runs.list({ function: "etl", limit: 1 })).items;
  check(run?.status === "completed", `the run is ${String(run?.status)}`);
  const rows = tally(await client.runs.history(run?.id ?? ""));
  say(
    "   steps by the run's history: how many, attempts that failed, that died with the cell, time",
  );
  for (const { what, steps, failed, died, totalMs } of rows) {
    const counts = [steps, failed, died].map((count) => String(count).padStart(4)).join(" ");
    say(`     ${what.padEnd(22)} ${counts}  ${milliseconds(totalMs / steps).padStart(9)} each`);
  }
  const sum = (of: (row: Row) => number): number => rows.reduce((all, row) => all + of(row), 0);
  say(`   ${number(sum(({ steps }) => steps))} steps, each completed once`);
  check(sum(({ died }) => died) > 0, "no attempt was interrupted");
  check(sum(({ completed }) => completed) === sum(({ steps }) => steps), "steps did not complete");
}

interface Line {
  readonly type: string;
  readonly atMs: number;
  readonly step?: string;
  readonly what?: string;
}

interface Row {
  readonly what: string;
  steps: number;
  completed: number;
  failed: number;
  died: number;
  totalMs: number;
}

/** Adds lines up by what the steps do. */
function tally(history: readonly Line[]): readonly Row[] {
  const rows = new Map<string, Row>();
  const steps = new Map<string, { readonly row: Row; readonly atMs: number }>();
  for (const { type, step, what = "", atMs } of history) {
    if (step === undefined) continue;
    if (type === "stepStarted") {
      const row = rows.get(what) ?? {
        what,
        steps: 0,
        completed: 0,
        failed: 0,
        died: 0,
        totalMs: 0,
      };
      rows.set(what, row);
      row.steps += 1;
      steps.set(step, { row, atMs });
    }
    const known = steps.get(step);
    if (!known) continue;
    if (type === "attemptFailed") known.row.failed += 1;
    if (type === "attemptInterrupted") known.row.died += 1;
    if (type !== "stepCompleted") continue;
    known.row.completed += 1;
    known.row.totalMs += atMs - known.atMs;
  }
  return [...rows.values()];
}
