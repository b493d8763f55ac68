/**
 * Asks the probation cell to evaluate a bundle once: the only look at tenant code before a call.
 */
import {
  CELL_CONTROL,
  IsolaError,
  LIMITS,
  PROBATION_SLOT,
  parseErrorData,
  type ProbeReply,
  type ProbeRequest,
} from "../contract/index.ts";
import { readBytes } from "./request-body.ts";
import type { GatewayState } from "./state.worker.ts";
import { sleep } from "./system-timers.worker.ts";

/** The cell may be busy with a suspect, whose end the watchdog bounds. */
const ANSWER_MAX_MS = 10_000;
/** A connection that fails this soon was never taken up: the cell is not up. */
const REFUSED_MS = 40;
const RETRY_MS = 100;
/** A module's configuration may hold an environment; nothing else in the answer is large. */
const REPLY_MAX_BYTES = 2 * LIMITS.envMaxBytes;

type Probed = Extract<ProbeReply, { ok: true }>;

/** @throws IsolaError what the probe found, `PROBE_TIMEOUT`, `CELL_RESTARTING`. */
export async function probeBundle(state: GatewayState, request: ProbeRequest): Promise<Probed> {
  const { clock } = state;
  const giveUpAtMs = clock.now() + LIMITS.restartWaitMaxMs;
  let losses = 0;
  for (;;) {
    const startedAtMs = clock.now();
    try {
      return await probeOnce(state, request);
    } catch (thrown) {
      if (thrown instanceof IsolaError) throw thrown;
      // Lost while it ran: another's suspect may have ended the cell, so once more, not twice.
      if (clock.now() - startedAtMs > REFUSED_MS) losses += 1;
      if (losses >= 2) throw notEvaluated(request, "the cell ended while it loaded the module");
      if (clock.now() > giveUpAtMs) throw notUp(request);
      await sleep(RETRY_MS);
    }
  }
}

async function probeOnce(state: GatewayState, request: ProbeRequest): Promise<Probed> {
  const signal = AbortSignal.timeout(ANSWER_MAX_MS);
  let response: Response;
  try {
    response = await state.bindings
      .control(PROBATION_SLOT)
      .fetch(`http://cell${CELL_CONTROL.probe}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request),
        signal,
      });
  } catch (thrown) {
    if (signal.aborted) throw notEvaluated(request, `no answer within ${ANSWER_MAX_MS} ms`);
    throw thrown;
  }
  const body: unknown = await readReply(response);
  if (!response.ok) {
    const data = parseErrorData(body);
    if (data) throw IsolaError.fromData(data);
    throw notEvaluated(request, `status ${response.status} of the cell`);
  }
  const reply = body as ProbeReply;
  if (reply.ok) return reply;
  throw IsolaError.fromData(parseErrorData(reply.error) ?? notUp(request).toData());
}

/** Bounded: what a cell says passed through tenant code. */
async function readReply(response: Response): Promise<unknown> {
  const attempted = "read a cell's answer";
  const limit = { maxBytes: REPLY_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  const text = new TextDecoder().decode(await readBytes(response, limit));
  try {
    return JSON.parse(text);
  } catch {
    throw new IsolaError("INTERNAL", { attempted, found: "an answer that is no JSON" });
  }
}

function notEvaluated(request: ProbeRequest, found: string): IsolaError {
  return new IsolaError("PROBE_TIMEOUT", {
    attempted: `evaluate ${request.name}`,
    found,
    required: `modules that load within ${LIMITS.probeTimeoutMs} ms`,
  });
}

function notUp(request: ProbeRequest): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: `evaluate ${request.name}`,
    found: "no probation cell that answers",
    retryAfterSeconds: 2,
  });
}
