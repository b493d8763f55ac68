/**
 * Asks the probation cell to evaluate a bundle once: the only look at tenant code before a call.
 *
 * E1 Namespaces take turns, one module at a time: whose module ends the cell ends nobody else's
 *    deploy, and who deploys a hundred functions waits behind himself.
 * E2 A deploy fails for an end of the cell only if its module was convicted of it, or after some.
 * E3 Whoever is on trial there is not disturbed, within a bound (ProbationRoom B3).
 */
import {
  CELL_CONTROL,
  IsolaError,
  LIMITS,
  PROBATION_SLOT,
  parseErrorData,
  suspectKey,
  systemClock,
  type ProbeReply,
  type ProbeRequest,
  type Verdict,
} from "../contract/index.ts";
import type { Dispatcher } from "./dispatcher.worker.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { readBytes } from "./request-body.ts";
import { Room } from "./room.ts";
import type { GatewayState } from "./state.worker.ts";
import { sleep } from "./system-timers.worker.ts";

/** The cell may be busy with a suspect, whose end the watchdog bounds. */
const ANSWER_MAX_MS = 10_000;
const RETRY_MS = 100;
/** Ends of the cell that were nobody's fault, or another's, that one deploy puts up with. */
const LOSSES_MAX = 3;
/** Longest wait for the verdict over an end; the watchdog's word comes with the next process. */
const VERDICT_MAX_MS = 2_000;
/** Longest wait for a trial; one that takes longer does not hold the thread. */
const TRIAL_MAX_MS = 5_000;
const TRIAL_LOOK_MS = 20;
/** Longest time that one evaluation may take with all its waits. */
const TURN_MAX_MS = 60_000;
/** A module's configuration may hold an environment; nothing else in the answer is large. */
const REPLY_MAX_BYTES = 2 * LIMITS.envMaxBytes;

type Probed = Extract<ProbeReply, { ok: true }>;

/** @throws IsolaError what the probe found, `PROBE_TIMEOUT`, `CELL_RESTARTING`, `CAPACITY`. */
export function probeBundle(state: GatewayState, request: ProbeRequest): Promise<Probed> {
  // E1: the turn among a namespace's own comes first, so that each has one in the other line.
  return ownTurns.enter(request.namespace, 1, () =>
    turns.enter("", 1, () => probeUntilKnown(state, request)),
  );
}

const ROOM = { capacity: 1, clock: systemClock, sleep: () => sleep(1), leaseMs: TURN_MAX_MS };
const ownTurns = new Room({ ...ROOM, waitMaxMs: TURN_MAX_MS });
const turns = new Room({ ...ROOM, waitMaxMs: TURN_MAX_MS });

async function probeUntilKnown(state: GatewayState, request: ProbeRequest): Promise<Probed> {
  const { clock } = state;
  const { dispatcher } = gatewayOf(() => state.bindings);
  let giveUpAtMs = clock.now() + LIMITS.restartWaitMaxMs;
  let losses = 0;
  for (;;) {
    await waitForTrial(state, dispatcher);
    const startedAtMs = clock.now();
    const pid = state.cells.pidOf(PROBATION_SLOT);
    try {
      return await probeOnce(state, request);
    } catch (thrown) {
      if (thrown instanceof IsolaError) throw thrown;
      const bound = VERDICT_MAX_MS;
      const verdict = await dispatcher.verdictOf(PROBATION_SLOT, startedAtMs, bound, pid);
      if (verdict) {
        if (isConvicted(verdict, request)) throw notEvaluated(request, whatItDid(verdict));
        losses += 1;
        giveUpAtMs = clock.now() + LIMITS.restartWaitMaxMs;
      }
      if (losses >= LOSSES_MAX) throw notEvaluated(request, "the cell ended while it loaded");
      if (clock.now() > giveUpAtMs) throw notUp(request);
      await sleep(RETRY_MS);
    } finally {
      dispatcher.probation.leaveProbe();
    }
  }
}

/** E3 */
async function waitForTrial({ clock }: GatewayState, dispatcher: Dispatcher): Promise<void> {
  const untilMs = clock.now() + TRIAL_MAX_MS;
  while (!dispatcher.probation.enterProbe(clock.now(), ANSWER_MAX_MS)) {
    if (clock.now() > untilMs) return;
    await sleep(TRIAL_LOOK_MS);
  }
}

function isConvicted(verdict: Verdict, { namespace, name }: ProbeRequest): boolean {
  return verdict.convicted === suspectKey(namespace, name, 0);
}

function whatItDid({ cause }: Verdict): string {
  if (cause === "MAX_BLOCK") return "modules that held the thread until their process was ended";
  if (cause === "MEMORY_LIMIT") return "modules that exhausted the memory of their process";
  return "modules whose process crashed";
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
