/**
 * The demo: starts a platform in a temporary folder, deploys `functions/`, runs the film pipeline
 * over real data, FizzBuzz, a stream and a Hono application, prints what happened and stops.
 *
 * Ends with status 0 only if every figure adds up. Nothing stays: no process, no file.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { IsolaClient } from "../../runtime/client/index.ts";
import type { WordCount } from "../word-count.ts";
import type { EtlResult, Tables, Tally } from "../etl/records.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const ISOLA = join(ROOT, "runtime/cli/main.ts");
const SOURCE = join(ROOT, "node_modules/vega-datasets/data/movies.json");
const START_MAX_MS = 20_000;
const STOP_MAX_MS = 15_000;
const USAGE_MAX_MS = 5_000;
const STREAM_BYTES = 50_000_000;

const number = (value: number): string => value.toLocaleString("en-US");
const seconds = (fromMs: number): string => `${((performance.now() - fromMs) / 1000).toFixed(1)} s`;
const say = (line = ""): void => console.log(line);

/** Ends the demo unless `holds`: a figure that does not add up is a failure. */
function check(holds: boolean, sentence: string): void {
  if (!holds) throw new Error(sentence);
}

interface Platform {
  readonly process: ChildProcess;
  readonly publicUrl: string;
  readonly adminUrl: string;
  /** What it said, for the case that it fails. */
  readonly said: () => string;
}

/** Runs `isola` and keeps what it says. */
function isola(args: readonly string[], data: string, adminUrl?: string) {
  const env = { ...process.env, ISOLA_DATA: data, ...(adminUrl ? { ISOLA_URL: adminUrl } : {}) };
  const child = spawn(process.execPath, [ISOLA, ...args], {
    env,
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (text = (text + chunk).slice(-8_000)));
  }
  return { child, said: () => text.trim() };
}

/** `start` prints its addresses once it answers. */
async function startPlatform(data: string): Promise<Platform> {
  const { child, said } = isola(["start", "--port", "0", "--admin-port", "0"], data);
  process.on("exit", () => child.kill("SIGTERM"));
  const deadlineMs = performance.now() + START_MAX_MS;
  for (;;) {
    const [, publicUrl, adminUrl] = /^public\s+(\S+)\s+admin\s+(\S+)$/m.exec(said()) ?? [];
    const platform = { process: child, publicUrl: publicUrl ?? "", adminUrl: adminUrl ?? "", said };
    if (adminUrl !== undefined) return platform;
    check(child.exitCode === null, `the platform did not start:\n${said()}`);
    if (performance.now() > deadlineMs) {
      await stop(platform);
      throw new Error(`the platform was not ready in time:\n${said()}`);
    }
    await sleep(20);
  }
}

async function stop({ process: child }: Platform): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return true;
  const ended = once(child, "exit").then(() => true);
  child.kill("SIGTERM");
  if (await Promise.race([ended, sleep(STOP_MAX_MS, false, { ref: false })])) return true;
  child.kill("SIGKILL");
  await ended;
  return false;
}

async function deployAll(platform: Platform, data: string): Promise<void> {
  const { child, said } = isola(["deploy", "functions"], data, platform.adminUrl);
  const [code] = (await once(child, "exit")) as [number | null];
  check(code === 0, `isola deploy functions ended with status ${String(code)}:\n${said()}`);
}

async function callText(url: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  const text = await response.text();
  check(response.ok, `${url} answered ${response.status}: ${text.slice(0, 500)}`);
  return text;
}

function printTallies(heading: string, tallies: readonly Tally[]): void {
  say(`   ${heading}`);
  for (const { name, count, example } of tallies) {
    const shown = example.length > 64 ? `${example.slice(0, 63)}…` : example;
    say(`     ${number(count).padStart(5)}  ${name.padEnd(20)} ${shown}`);
  }
}

/** Writes the rows under their keys: doing it twice changes nothing. */
function loadInto(database: DatabaseSync, { movies, groups }: Tables): void {
  database.exec(`
    CREATE TABLE IF NOT EXISTS movies (id TEXT PRIMARY KEY, title TEXT NOT NULL,
      releasedOn TEXT NOT NULL, genre TEXT NOT NULL, budgetUsd INTEGER NOT NULL,
      grossUsd INTEGER NOT NULL, imdb REAL, tomatoes REAL) STRICT;
    CREATE TABLE IF NOT EXISTS groups (kind TEXT, name TEXT, films INTEGER NOT NULL,
      returnRatio REAL NOT NULL, imdbMean REAL, PRIMARY KEY (kind, name)) STRICT;
    BEGIN`);
  const movie = database.prepare("INSERT OR REPLACE INTO movies VALUES (?,?,?,?,?,?,?,?)");
  for (const row of movies) {
    const { id, title, releasedOn, genre, budgetUsd, grossUsd, imdb, tomatoes } = row;
    movie.run(id, title, releasedOn, genre, budgetUsd, grossUsd, imdb, tomatoes);
  }
  const group = database.prepare("INSERT OR REPLACE INTO groups VALUES (?,?,?,?,?)");
  for (const { kind, name, films, returnRatio, imdbMean } of groups) {
    group.run(kind, name, films, returnRatio, imdbMean);
  }
  database.exec("COMMIT");
}

function loadTwiceAndRead(file: string, tables: Tables): void {
  const database = new DatabaseSync(file);
  try {
    loadInto(database, tables);
    loadInto(database, tables);
    const { films, money } = database
      .prepare("SELECT count(*) AS films, sum(grossUsd) AS money FROM movies")
      .get() as { films: number; money: number };
    const expected = tables.movies.reduce((sum, { grossUsd }) => sum + grossUsd, 0);
    check(films === tables.movies.length, `SQLite holds ${films} films`);
    check(money === expected, `SQLite sums ${money} dollars, not ${expected}`);
    say(`   loaded twice into SQLite, read back: ${number(films)} films, each once`);
    const best = database
      .prepare(
        `SELECT name, films, returnRatio, imdbMean FROM groups
         WHERE kind = 'genre' AND films >= 30 ORDER BY returnRatio DESC LIMIT 3`,
      )
      .all() as { name: string; films: number; returnRatio: number; imdbMean: number }[];
    const shown = best.map(({ name, returnRatio }) => `${name} ${returnRatio.toFixed(2)}`);
    say(`   gross per dollar of budget, best genres: ${shown.join(", ")}`);
  } finally {
    database.close();
  }
}

async function runEtl(platform: Platform, folder: string, client: IsolaClient): Promise<void> {
  const source = readFileSync(SOURCE, "utf8");
  const fromMs = performance.now();
  const answer = await callText(`${platform.publicUrl}/function/etl`, {
    method: "POST",
    headers: { "content-type": "text/plain" },
    body: source,
  });
  const result = JSON.parse(answer) as EtlResult;
  const { recordsIn, rejectedRecords, tables } = result;
  const out = tables.movies.length;
  say(`3. Films: movies.json of vega-datasets through etl (${seconds(fromMs)})`);
  say(`   in        ${number(recordsIn)} records in ${result.batches} batches`);
  printTallies(`rejected  ${number(rejectedRecords)} records`, result.rejectedBy);
  printTallies("repaired, in the records that stayed", result.correctedBy);
  say(`   out       ${number(out)} films, ${tables.groups.length} groups by genre and decade`);
  check(recordsIn > 3_000, `the source holds ${recordsIn} records`);
  check(
    recordsIn === rejectedRecords + out + tables.duplicates.length,
    `${recordsIn} in, but ${rejectedRecords} rejected, ${out} out`,
  );
  loadTwiceAndRead(join(folder, "films.sqlite"), tables);
  await printTimes(client, result.batches);
}

/** Cells report in batches: waits until the last call of the pipeline is counted. */
async function printTimes(client: IsolaClient, batches: number): Promise<void> {
  const deadlineMs = performance.now() + USAGE_MAX_MS;
  let rows = (await client.usage()).functions;
  const countOf = (name: string): number => rows.find((row) => row.function === name)?.calls ?? 0;
  while (countOf("etl-load") < 1 || countOf("etl") < 1 || countOf("etl-clean") < batches) {
    check(performance.now() < deadlineMs, "usage does not show the calls of the pipeline");
    await sleep(50);
    rows = (await client.usage()).functions;
  }
  say("   time per function, from the platform's own usage records");
  for (const name of ["extract", "validate", "clean", "aggregate", "load"]) {
    const row = rows.find((one) => one.function === `etl-${name}`);
    const [calls, wallMs] = [row?.calls ?? 0, row?.wallMs ?? 0];
    const each = `${(wallMs / Math.max(1, calls)).toFixed(1)} ms a call`;
    say(`     etl-${name.padEnd(10)} ${String(calls).padStart(2)} calls  ${each.padStart(15)}`);
  }
}

async function runFizzBuzz({ publicUrl }: Platform): Promise<void> {
  const numbers = Array.from({ length: 15 }, (_, index) => index + 1);
  const answersOf = await Promise.all(
    numbers.map(async (n) => JSON.parse(await callText(`${publicUrl}/function/fizzbuzz?n=${n}`))),
  );
  const line = answersOf.join(" ");
  say(`4. FizzBuzz, a function that calls others by what classify says`);
  say(`   ${line}`);
  const expected = "1 2 Fizz 4 Buzz Fizz 7 8 Fizz Buzz 11 Fizz 13 14 FizzBuzz";
  check(line === expected, `FizzBuzz answered ${line}`);
}

async function runStream({ publicUrl }: Platform): Promise<void> {
  const fromMs = performance.now();
  const response = await fetch(`${publicUrl}/function/stream?bytes=${STREAM_BYTES}`);
  let [bytes, chunks] = [0, 0];
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    chunks += 1;
  }
  say(`5. Stream: ${number(bytes)} bytes in ${number(chunks)} chunks (${seconds(fromMs)})`);
  check(bytes === STREAM_BYTES && chunks > 1, `the stream ended after ${bytes} bytes`);
}

async function runWordCount({ publicUrl }: Platform): Promise<void> {
  const fromMs = performance.now();
  const headers = { "content-type": "text/plain" };
  const body = readFileSync(SOURCE, "utf8");
  const answer = await callText(`${publicUrl}/function/word-count`, {
    method: "POST",
    headers,
    body,
  });
  const { parts, words, distinct } = JSON.parse(answer) as WordCount;
  say(
    `7. Words: ${number(words)} in ${parts} parts through the store, ${number(distinct)} different`,
  );
  say(`   (${seconds(fromMs)})`);
  check(parts > 1 && words > distinct && distinct > 1_000, `word-count answered ${answer}`);
}

async function runHono({ publicUrl }: Platform): Promise<void> {
  const book = await callText(`${publicUrl}/function/hono-app/books/2`);
  say(`6. Hono: GET /books/2 answers ${book}`);
  check((JSON.parse(book) as { id?: number }).id === 2, `the Hono application answered ${book}`);
}

async function demo(folder: string): Promise<void> {
  const beganMs = performance.now();
  const data = join(folder, "data");
  const platform = await startPlatform(data);
  try {
    say(`1. Platform: ${platform.publicUrl}, admin ${platform.adminUrl} (${seconds(beganMs)})`);
    const deployMs = performance.now();
    await deployAll(platform, data);
    const token = readFileSync(join(data, "admin-token"), "utf8").trim();
    const client = new IsolaClient({ url: platform.adminUrl, token });
    const names = (await client.list()).map(({ name }) => name);
    say(`2. Functions: ${names.length} deployed (${seconds(deployMs)}): ${names.join(", ")}`);
    await runEtl(platform, folder, client);
    await runFizzBuzz(platform);
    await runStream(platform);
    await runHono(platform);
    await runWordCount(platform);
  } catch (error) {
    say(`\nThe platform said:\n${platform.said()}\n`);
    throw error;
  } finally {
    check(await stop(platform), "the platform did not stop by itself");
  }
  say(`Done: everything answered, the platform has stopped (${seconds(beganMs)} in all)`);
}

const folder = mkdtempSync(join(tmpdir(), "isola-demo-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
try {
  await demo(folder);
} catch (error) {
  console.error(`demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
