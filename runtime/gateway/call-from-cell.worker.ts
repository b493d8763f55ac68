/**
 * A call between functions that its cell must not run: a suspect, a quarantined version, another
 * backend. The cell vouches for the envelope; the slot's group bounds what it may name.
 */
import {
  type CallEnvelope,
  type EnvelopeCarrier,
  IsolaError,
  PRIVATE_PREFIX,
  PROBATION_SLOT,
  REPLY_HEADER,
  SUPPLY,
  isErrorCode,
  isWorkflow,
  parseErrorData,
  toIsolaError,
  unpackEnvelope,
} from "../contract/index.ts";
import { PROBATION_GROUP } from "./cell-pool.ts";
import { Departure, type Dispatcher } from "./dispatcher.worker.ts";
import { errorResponse } from "./error-response.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { pathOf } from "./resolve-call.ts";
import { answerRun, failureOf } from "./run-answer.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { runForCell } from "./workflow-call.worker.ts";

/** @param slot of the asking cell; from its socket. */
export async function callFromCell(
  request: Request,
  slot: number,
  state: GatewayState,
): Promise<Response> {
  try {
    const { dispatcher } = gatewayOf(() => state.bindings);
    const envelope = unpackEnvelope(request.cf as unknown as EnvelopeCarrier);
    const route = state.sees(slot, envelope.ns)
      ? state.table.route(envelope.ns, envelope.fn)
      : undefined;
    const target = route?.targets.find(({ version }) => version === envelope.v);
    if (!route || !target) throw notFound(envelope);
    if (target.quarantined) throw quarantined(envelope);
    if (isWorkflow(target.form)) {
      const { found, body } = await waiting(dispatcher, slot, request.signal, () =>
        runForCell(state, request, envelope, target),
      );
      if (found.error) throw failureOf(found);
      return answerRun(found, body);
    }
    const headers = new Headers(request.headers);
    for (const name of [...headers.keys()]) {
      if (name.startsWith(PRIVATE_PREFIX)) headers.delete(name);
    }
    const departure = new Departure();
    request.signal.addEventListener("abort", () => departure.leave());
    const dispatched = await dispatcher.dispatch({
      envelope,
      target,
      route,
      row: state.table.namespace(envelope.ns),
      url: `http://function${pathOf(request.url).slice(SUPPLY.call.length)}`,
      method: request.method,
      headers,
      body: request.body as ReadableStream<Uint8Array> | null,
      bodyBytes: Number(headers.get("content-length") ?? 0),
      client: undefined,
      departure,
    });
    // A value: it is read whole, so the lease does not outlive this line by a stream.
    const bytes = await dispatched.response.arrayBuffer().catch(() => undefined);
    dispatched.release(bytes !== undefined);
    if (bytes) return passOn(dispatched.response, bytes);
    throw new IsolaError("CELL_LOST", {
      attempted: `call ${envelope.fn} from a function`,
      found: "an answer that broke off",
    });
  } catch (thrown) {
    return asCallAnswer(toIsolaError(thrown, "place a call between functions"));
  }
}

/** What the run has to do in the probation cell is done in the turn of who waits for it there. */
async function waiting<T>(
  { admission }: Dispatcher,
  slot: number,
  signal: AbortSignal,
  run: () => Promise<T>,
): Promise<T> {
  if (slot !== PROBATION_SLOT) return run();
  const takeBack = admission.lend(PROBATION_GROUP, slot);
  // A handler that the runtime drops with its cell runs no `finally`.
  signal.addEventListener("abort", takeBack);
  try {
    return await run();
  } finally {
    takeBack();
  }
}

function passOn(response: Response, bytes: ArrayBuffer): Response {
  const reply = response.headers.get(REPLY_HEADER);
  const code = reply === null ? undefined : (JSON.parse(reply) as { error?: unknown }).error;
  if (!isErrorCode(code)) {
    const body = response.status === 204 ? null : bytes;
    return new Response(body, { status: response.status, headers: response.headers });
  }
  const body = JSON.parse(new TextDecoder().decode(bytes)) as { error?: unknown };
  const data = parseErrorData(body.error);
  const error = data
    ? IsolaError.fromData(data)
    : new IsolaError("INTERNAL", { attempted: "read a cell's answer", found: "no error in it" });
  return asCallAnswer(error);
}

/** Errors between platform processes carry their parts. */
function asCallAnswer(error: IsolaError): Response {
  const answer = errorResponse(error);
  return Response.json({ error: error.toData() }, { status: answer.status });
}

function notFound(envelope: CallEnvelope): IsolaError {
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `call ${envelope.fn} from a function`,
    found: "no such function or version",
  });
}

function quarantined(envelope: CallEnvelope): IsolaError {
  return new IsolaError("FUNCTION_QUARANTINED", {
    attempted: `call ${envelope.fn}`,
    found: `version ${envelope.v} in quarantine`,
    retryAfterSeconds: 60,
  });
}
