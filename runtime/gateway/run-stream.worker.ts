/**
 * A run's history as server-sent events.
 *
 * 1. Every line is sent once, in order, under its id; a client that comes back names the last one
 *    that it has (Last-Event-ID).
 * 2. The event `end` follows the last line of a run that has ended, and the stream ends. Who comes
 *    back after it gets 204, at which browsers stop.
 * 3. A cell that dies is waited for as long as the client does; each question waits in the shard,
 *    for no longer than a connection may be silent.
 */
import { IsolaError, type RunHistory } from "../contract/index.ts";
import { askRun, askRuns, isAway, shardOfRun } from "./ask-runs.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { sleep } from "./system-timers.worker.ts";

/** A comment after so much silence tells a client that is gone, and proxies that it is not. */
const BEAT_MS = 10_000;
/** Between two questions that a shard could not answer, or did not let wait. */
const PAUSE_MS = 200;
/** Lines of so long go together. */
const GATHER_MS = 20;
const END_ID = "end";

interface Followed {
  readonly state: GatewayState;
  readonly namespace: string;
  readonly run: string;
}

/** Errors: `RUN_NOT_FOUND`, `REQUEST_INVALID`. @param after id of the last line that is known. */
export async function streamHistory(followed: Followed, after: string): Promise<Response> {
  if (after === END_ID) return new Response(null, { status: 204 });
  const { state, namespace, run } = followed;
  // Refusals come as such, before there is a stream.
  const first = await askRun<"history">(state, namespace, {
    ask: "history",
    run,
    after,
    waitMs: 0,
  });
  let page: RunHistory | undefined;
  const body = new ReadableStream<Uint8Array>({
    // Nothing is asked before the client has taken what there is.
    async pull(controller) {
      // The first chunk may be a comment: the client knows at once that it is connected.
      if (page === undefined) page = first;
      else {
        // Lines come in bursts: a follower asks for some of them at once.
        if (page.items.length > 0) await sleep(GATHER_MS);
        page = await nextPage(followed, page.after);
      }
      const lines = page.items.map((line) => `id: ${line.id}\ndata: ${JSON.stringify(line)}\n\n`);
      if (page.isOver) lines.push(await endOf(followed));
      controller.enqueue(new TextEncoder().encode(lines.join("") || ":\n\n"));
      if (page.isOver) controller.close();
    },
  });
  const headers = { "content-type": "text/event-stream", "cache-control": "no-store" };
  return new Response(body, { headers });
}

/** Lines after a line; none after so much silence. */
async function nextPage({ state, namespace, run }: Followed, after: string): Promise<RunHistory> {
  const shard = shardOfRun(state, run);
  const untilMs = state.clock.now() + BEAT_MS;
  for (;;) {
    const waitMs = Math.max(0, untilMs - state.clock.now());
    const none = { items: [], after, isOver: false };
    try {
      const asked = { ask: "history", run, after, waitMs } as const;
      const page = await askRuns<"history">(state, shard, namespace, asked);
      if (page.items.length > 0 || page.isOver || waitMs === 0) return page;
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown;
      if (waitMs === 0) return none;
    }
    await sleep(PAUSE_MS);
  }
}

async function endOf({ state, namespace, run }: Followed): Promise<string> {
  const { status } = await askRun<"show">(state, namespace, { ask: "show", run });
  return `id: ${END_ID}\nevent: end\ndata: ${JSON.stringify({ status })}\n\n`;
}

/** Id of the last line that a client has. Errors: `REQUEST_INVALID`. */
export function lastLine(headers: Headers, query: URLSearchParams): string {
  const after = headers.get("last-event-id") ?? query.get("after") ?? "";
  if (after === END_ID || /^(\d{1,12}\.\d{1,8})?$/.test(after)) return after;
  throw new IsolaError("REQUEST_INVALID", {
    attempted: "read the history of a run",
    found: `a history after ${JSON.stringify(after.slice(0, 40))}`,
    required: "the id of one of its lines",
  });
}
