/**
 * An attempt of a step that calls an address, under the egress policy of the run's workflow. What
 * answers with another status than 2xx has failed, unless the definition looks at the answer.
 */
import { exports } from "cloudflare:workers";
import { type Egress, IsolaError, toIsolaError } from "../../contract/index.ts";
import type { Outcome, RunRef, RunReport, RunRequest } from "../../../workflow/index.ts";
import { currentCell } from "../cell.worker.ts";
import { httpParts } from "../shim/http-shape.ts";
import type { Dispatch } from "./performers.ts";
import { canceled, failed, notRun } from "./run-errors.ts";
import { targetOf } from "./targets.worker.ts";

const entrypoints = exports as unknown as {
  Outbound(options: { props: object }): Fetcher;
};

/** Of an answer; beyond, the step has failed. */
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;
/** Faults of the address, not of the request: another attempt may do. */
const FINAL_FROM = 400;
const FINAL_BEFORE = 500;
const RETRIED: ReadonlySet<number> = new Set([408, 425, 429]);

/** Never rejects. @param effect its input is a value. */
export async function requestStep(
  run: RunRef,
  request: RunRequest,
  effect: Dispatch,
  signal: AbortSignal,
): Promise<RunReport> {
  const { step, token } = effect;
  const bounded =
    effect.deadlineMs === undefined ? signal : withDeadline(signal, effect.deadlineMs);
  const outcome = await send(run, request, effect, bounded);
  return { type: "settled", step, token, outcome: signal.aborted ? canceled() : outcome };
}

function withDeadline(signal: AbortSignal, deadlineMs: number): AbortSignal {
  const leftMs = Math.max(0, deadlineMs - (currentCell()?.now() ?? 0));
  return AbortSignal.any([signal, AbortSignal.timeout(leftMs)]);
}

async function send(
  run: RunRef,
  { workflow, version }: RunRequest,
  { operation, input, idempotencyKey }: Dispatch,
  signal: AbortSignal,
): Promise<Outcome> {
  const cell = currentCell();
  if (!cell || operation.op !== "request") return failed(notRun("no cell around it"));
  try {
    await cell.routing();
    const name = { namespace: run.namespace, name: workflow, version };
    const { egress } = await targetOf(cell, name);
    const { method, headers, query } = operation;
    const shape = {
      ...(method !== undefined && { method }),
      ...(headers && { headers }),
      ...(query && { query }),
    };
    const value = "value" in input ? input.value : undefined;
    const parts = httpParts(shape, value);
    const sent = new Headers([["idempotency-key", idempotencyKey]]);
    for (const [key, text] of parts.headers) sent.set(key, text);
    const response = await outbound(run, workflow, egress).fetch(
      withSearch(operation.url, parts.search),
      { method: parts.method, headers: sent, body: parts.body, signal },
    );
    return await answerOf(response, operation.url, operation.response === true);
  } catch (thrown) {
    return failed(toIsolaError(asUpstream(thrown), `request ${operation.url}`).toData());
  }
}

function outbound({ namespace }: RunRef, name: string, egress: Egress): Fetcher {
  return entrypoints.Outbound({ props: { namespace, name, egress } });
}

function withSearch(url: string, search: string): string {
  if (search === "") return url;
  const whole = new URL(url);
  for (const [name, value] of new URLSearchParams(search)) whole.searchParams.append(name, value);
  return whole.href;
}

async function answerOf(response: Response, url: string, isLookedAt: boolean): Promise<Outcome> {
  const { status } = response;
  const body = await bodyOf(response, url);
  if (isLookedAt) {
    const headers = Object.fromEntries(response.headers);
    return { ok: true, output: { value: { status, headers, body } } };
  }
  if (response.ok) return { ok: true, output: { value: body } };
  const isFinal = status >= FINAL_FROM && status < FINAL_BEFORE && !RETRIED.has(status);
  const message = `${url} answered with status ${String(status)}`;
  const error = { name: "RequestFailed", message, code: "UPSTREAM_FAILED" };
  return { ok: false, error: { ...error, ...(isFinal && { isFinal }) } };
}

/** JSON as its value, text as a string, everything else as octets; nothing as undefined. */
async function bodyOf(response: Response, url: string): Promise<unknown> {
  const bytes = await readWithin(response, url);
  if (bytes.byteLength === 0) return undefined;
  const type = response.headers.get("content-type") ?? "";
  const text = (): string => new TextDecoder().decode(bytes);
  if (type.includes("json")) return JSON.parse(text()) as unknown;
  return type.startsWith("text/") ? text() : bytes;
}

async function readWithin(response: Response, url: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > ANSWER_MAX_BYTES) throw tooLarge(url);
    chunks.push(chunk);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function asUpstream(thrown: unknown): unknown {
  if (thrown instanceof IsolaError) return thrown;
  const found = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new IsolaError("UPSTREAM_FAILED", { attempted: "request an address", found });
}

function tooLarge(url: string): IsolaError {
  return new IsolaError("RESULT_INVALID", {
    attempted: `request ${url}`,
    found: "an answer that is larger",
    required: `at most ${String(ANSWER_MAX_BYTES)} bytes`,
  });
}
