/**
 * The demo: starts a platform in a temporary folder, deploys `functions/`, runs all workflows and
 * samples over real data, kills a cell and the sink in the middle of the film pipeline, prints what
 * happened and stops.
 *
 * Ends with status 0 only if every figure adds up. Nothing stays: no process, no file.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runFilms } from "./films.ts";
import { Platform, check, number, say, seconds } from "./platform.ts";
import { runChains, runExpenses, runFizzBuzz, runOrders, runWordCount } from "./workflows.ts";

const STREAM_BYTES = 50_000_000;
// The source and the sink of the film pipeline are on this machine.
const OPTIONS = ["--cells", "1", "--allow-private", "127.0.0.1/32"];

async function runStream({ publicUrl }: Platform): Promise<void> {
  const fromMs = performance.now();
  const response = await fetch(`${publicUrl}/function/stream?bytes=${STREAM_BYTES}`);
  let [bytes, chunks] = [0, 0];
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    chunks += 1;
  }
  say(`9. Stream: ${number(bytes)} bytes in ${number(chunks)} chunks (${seconds(fromMs)})`);
  check(bytes === STREAM_BYTES && chunks > 1, `the stream ended after ${bytes} bytes`);
}

async function runHono(platform: Platform): Promise<void> {
  const book = await platform.call("hono-app/books/2");
  say(`10. Hono: GET /books/2 answers ${book}`);
  check((JSON.parse(book) as { id?: number }).id === 2, `the Hono application answered ${book}`);
}

async function demo(folder: string): Promise<void> {
  const beganMs = performance.now();
  const platform = await Platform.start(join(folder, "data"), OPTIONS);
  try {
    say(`1. Platform: ${platform.publicUrl}, admin ${platform.adminUrl} (${seconds(beganMs)})`);
    const deployMs = performance.now();
    await platform.command("deploy", "functions");
    const names = (await platform.client.list()).map(({ name }) => name);
    say(`2. Functions: ${names.length} deployed (${seconds(deployMs)}): ${names.join(", ")}`);
    await runFizzBuzz(platform);
    await runChains(platform);
    await runWordCount(platform);
    await runOrders(platform);
    await runExpenses(platform);
    await runFilms(platform, folder);
    await runStream(platform);
    await runHono(platform);
  } catch (error) {
    say(`\nThe platform said:\n${platform.said()}\n`);
    throw error;
  } finally {
    check(await platform.stop(), "the platform did not stop by itself");
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
