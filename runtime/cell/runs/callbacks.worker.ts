/**
 * One attempt to tell a URL what came of a run. The gateway says what is told and signs it, the
 * egress sends it under the rules of the run's function; its answer decides whether it was taken.
 */
import {
  type CallbackAsked,
  type CallbackText,
  type CallbackTold,
  IsolaError,
  type RunCallback,
  type RunFound,
  type RunTold,
  WORKFLOW_LIMITS,
  frame,
  parseErrorData,
  toIsolaError,
  unframe,
} from "../../contract/index.ts";
import type { CallbackResult, CallbackStep, RunHome, RunRef } from "../../../workflow/index.ts";
import type { Cell } from "../cell.worker.ts";
import { written } from "./run-endpoint.worker.ts";
import { Turns } from "./turns.ts";

/** Between two questions to a gateway that is away. */
const PAUSE_MS = 1_000;
/** The receiver wants to hear no more of it. */
const GONE = 410;
/** Results beyond are in memory a few at a time. */
const LARGE_BYTES = 1024 * 1024;
const large = new Turns(4);

/** What is told, and the octets of its result. */
export interface CallbackContent {
  readonly asked: CallbackAsked;
  readonly body: Uint8Array;
}

/** What callbacks have of the shard. */
export interface CallbackDesk {
  /** Octets of the result, as far as they are known before it is read. */
  sizeBytes(id: string): number;
  /** What came of the run; rejects if that cannot be read. */
  content(id: string): Promise<CallbackContent>;
  /** Resolves when it is on disk what became of the attempt. */
  calledBack(run: RunRef, result: CallbackResult): Promise<CallbackStep | undefined>;
}

/** One attempt, and who is told of it. Rejects when the shard's actor ends. */
export async function callBack(
  desk: CallbackDesk,
  cell: Cell,
  run: RunHome,
  callback: RunCallback,
): Promise<void> {
  const attempt = async (): Promise<CallbackResult> => {
    try {
      return await attemptCallback(cell, callback, await desk.content(run.id));
    } catch (thrown) {
      // What cannot be read now is tried again, as what cannot be sent.
      const { code, message } = toIsolaError(thrown, "read the result of a run");
      return { ok: false, error: { name: code, message, code } };
    }
  };
  const isLarge = desk.sizeBytes(run.id) > LARGE_BYTES;
  const result = isLarge ? await large.take(attempt) : await attempt();
  const step = await desk.calledBack(run, result);
  if (!step) return;
  const told = { run: run.id, namespace: run.namespace, function: run.workflow };
  await cell.supply.calledBack({ ...told, ...becameOf(step, callback, result) });
}

/** A result as `/runs/<id>` shows it to whoever accepts anything. */
export async function shownTo(
  told: RunTold,
): Promise<{ readonly found: RunFound; readonly body: Uint8Array }> {
  try {
    return await written(told, {});
  } catch (thrown) {
    const { result: _result, body: _body, ...found } = told;
    const { code, parts } = toIsolaError(thrown, "show the result of a run");
    return { found: { ...found, error: { code, message: parts.found } }, body: new Uint8Array(0) };
  }
}

/** The address alone: what stands behind it may be a secret. */
function becameOf(
  step: CallbackStep,
  { url }: RunCallback,
  result: CallbackResult,
): Pick<CallbackTold, "result" | "text"> {
  const { origin } = new URL(url);
  if (result.ok) return { result: "delivered", text: `called back to ${origin}` };
  const isOver = step.type === "failed" && step.retryAtMs === undefined;
  const attempts = `after ${String(step.attempt)} attempt${step.attempt === 1 ? "" : "s"}`;
  const text = `callback to ${origin} ${attempts}: ${result.error.message}`;
  return { result: isOver ? "givenUp" : "failed", text: isOver ? `given up: ${text}` : text };
}

/** Never rejects. A gateway that is away is no failure of the receiver: it is waited for. */
async function attemptCallback(
  cell: Cell,
  callback: RunCallback,
  content: CallbackContent,
): Promise<CallbackResult> {
  for (;;) {
    const text = await composed(cell, content).catch(() => undefined);
    if (text) return send(cell, callback, text);
    await scheduler.wait(PAUSE_MS);
  }
}

interface Composed {
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Undefined while the gateway cannot say it. */
async function composed(
  cell: Cell,
  { asked, body }: CallbackContent,
): Promise<Composed | undefined> {
  const response = await cell.supply.callback({ method: "POST", body: frame(asked, body) });
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (!response.ok) return undefined;
  const { head, body: octets } = unframe(bytes);
  const headers = new Headers((head as CallbackText).headers.map(([name, value]) => [name, value]));
  return { headers, body: octets as Uint8Array<ArrayBuffer> };
}

async function send(
  cell: Cell,
  { url, egress }: RunCallback,
  { headers, body }: Composed,
): Promise<CallbackResult> {
  headers.set("x-isola-target", url);
  headers.set("x-isola-egress", JSON.stringify(egress));
  try {
    const response = await cell.bindings.egress.fetch("http://egress/", {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(WORKFLOW_LIMITS.callbackTimeoutMs),
    });
    const code = response.headers.get("x-isola-error");
    if (code !== null) return refused(await response.json().catch(() => undefined));
    // What the receiver says beyond its status is nobody's to read.
    await response.body?.cancel();
    return taken(response);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { ok: false, error: { name: "NoAnswer", message, code: "UPSTREAM_FAILED" } };
  }
}

function taken({ status, headers, ok }: Response): CallbackResult {
  if (ok) return { ok };
  const seconds = Number(headers.get("retry-after") ?? "");
  const message = `the receiver answered with status ${String(status)}`;
  return {
    ok,
    error: { name: "NotTaken", message, code: "UPSTREAM_FAILED" },
    ...(Number.isFinite(seconds) && seconds > 0 && { retryAfterMs: seconds * 1_000 }),
    ...(status === GONE && { isFinal: true as const }),
  };
}

/** The egress's own words: what it denies now it denies later, what it did not reach it may. */
function refused(said: unknown): CallbackResult {
  const body = said as { error?: unknown } | undefined;
  const data = parseErrorData(body?.error ?? body);
  const error = data
    ? IsolaError.fromData(data)
    : new IsolaError("UPSTREAM_FAILED", { attempted: "call back", found: "no connection" });
  const { code, message } = error;
  const isFinal = code === "EGRESS_DENIED";
  return { ok: false, error: { name: code, message, code }, ...(isFinal && { isFinal }) };
}
