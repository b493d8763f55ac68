/** The two kinds of load: closed loop (clients that wait) and open loop (arrivals that do not). */
import { performance } from "node:perf_hooks";
import { encodeIntoCompressedBase64 } from "hdr-histogram-js";
import { type Answer, Connection } from "./connection.ts";
import { newHistogram, record } from "./histogram.ts";
import type { Ask, ClosedLoop, LoadPlan, LoadReport, OpenLoop } from "./plan.ts";

interface Counts {
  scheduled: number;
  ok: number;
  errors: number;
  dropped: number;
  lateMs: number;
}

type Histogram = ReturnType<typeof newHistogram>;

export async function generate(plan: LoadPlan): Promise<LoadReport> {
  const counts: Counts = { scheduled: 0, ok: 0, errors: 0, dropped: 0, lateMs: 0 };
  const histogram = newHistogram();
  const before = performance.eventLoopUtilization();
  const beganMs = performance.now();
  if (plan.kind === "closed") await runClosed(plan, counts, histogram);
  else await runOpen(plan, counts, histogram);
  return {
    plan,
    ...counts,
    elapsedMs: performance.now() - beganMs,
    busy: performance.eventLoopUtilization(before).utilization,
    histogram: encodeIntoCompressedBase64(histogram),
  };
}

async function runClosed(plan: ClosedLoop, counts: Counts, histogram: Histogram): Promise<void> {
  const connections = Array.from({ length: plan.clients }, () => new Connection(plan.url));
  await Promise.all(connections.map((connection) => connection.open()));
  const endMs = performance.now() + plan.durationMs;
  await Promise.all(
    connections.map((connection) =>
      runClient({ connection, endMs, asks: plan.asks }, counts, histogram),
    ),
  );
  for (const connection of connections) connection.close();
}

interface Client {
  readonly connection: Connection;
  readonly endMs: number;
  readonly asks: readonly Ask[] | undefined;
}

/** Callbacks, not promises, from answer to next request: the generator has to stay cheap. */
function runClient(
  { connection, endMs, asks }: Client,
  counts: Counts,
  histogram: Histogram,
): Promise<void> {
  return new Promise((resolve) => {
    const next = (): void => {
      const sentMs = performance.now();
      if (sentMs >= endMs) {
        resolve();
        return;
      }
      const ask = asks?.[counts.scheduled % asks.length];
      counts.scheduled += 1;
      connection.send((answer) => {
        record(histogram, performance.now() - sentMs);
        if (isRight(answer, ask)) counts.ok += 1;
        else counts.errors += 1;
        if (connection.isOpen) next();
        else resolve();
      }, ask?.body);
    };
    next();
  });
}

function isRight(answer: Answer | Error, ask: Ask | undefined): boolean {
  if (answer instanceof Error || answer.status !== (ask?.status ?? 200)) return false;
  return ask?.answer === undefined || answer.text() === ask.answer;
}

/** Splitmix32: arrivals repeat with their seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

async function runOpen(plan: OpenLoop, counts: Counts, histogram: Histogram): Promise<void> {
  const random = randomOf(plan.seed);
  const idle = Array.from({ length: plan.maxInFlight }, () => new Connection(plan.url));
  await Promise.all(idle.map((connection) => connection.open()));
  const all = [...idle];
  const beganMs = performance.now();
  let intendedMs = 0;
  const arrive = (atMs: number): void => {
    counts.scheduled += 1;
    const connection = idle.pop();
    if (!connection) {
      counts.dropped += 1;
      return;
    }
    connection.send((answer) => {
      record(histogram, performance.now() - beganMs - atMs);
      if (answer instanceof Error || answer.status !== 200) counts.errors += 1;
      else counts.ok += 1;
      if (connection.isOpen) idle.push(connection);
    });
  };
  while (intendedMs < plan.durationMs) {
    while (intendedMs <= performance.now() - beganMs) {
      counts.lateMs = Math.max(counts.lateMs, performance.now() - beganMs - intendedMs);
      arrive(intendedMs);
      intendedMs += (-Math.log(1 - random()) * 1000) / plan.ratePerSecond;
    }
    await turn(intendedMs - (performance.now() - beganMs));
  }
  while (counts.ok + counts.errors + counts.dropped < counts.scheduled) await turn(1);
  for (const connection of all) connection.close();
}

/** Waits for about `delayMs`; timers are whole milliseconds, so short waits spin the event loop. */
function turn(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    if (delayMs > 2) setTimeout(resolve, delayMs - 1);
    else setImmediate(resolve);
  });
}
