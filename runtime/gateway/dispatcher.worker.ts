/**
 * The dispatcher: from a resolved call to the cell that runs it, and back.
 *
 * G1 What is admitted is released on every way out: answer, error, client gone, stream ended.
 * G2 A call is sent again only if nothing of it reached a cell, or its function is idempotent and
 *    its body is still at hand.
 * G3 Whoever waits (for admission, for a restarting cell, for a verdict) waits within a bound.
 */
import {
  type CallEnvelope,
  type Clock,
  type FunctionRoute,
  IsolaError,
  LIMITS,
  type NamespaceRoute,
  PROBATION_SLOT,
  type RouteTarget,
  type SuspectKey,
  type Verdict,
  packEnvelope,
  suspectKey,
} from "../contract/index.ts";
import { Admission, type Lease, type Ticket } from "./admission.ts";
import { type CellGroup, type CellPool, PROBATION_GROUP, groupOf } from "./cell-pool.ts";
import { InFlight } from "./in-flight.ts";
import { classifyLost } from "./lost-cell.ts";
import { ProbationRoom } from "./probation-room.ts";
import { Suspects } from "./suspects.ts";
import { sleep, timeout } from "./system-timers.worker.ts";

export interface DispatcherOptions {
  readonly pool: CellPool;
  readonly clock: Clock;
  cell(slot: number): Fetcher;
  /** Whether nobody listens at the slot any more; false for one that is merely slow. */
  isDead(slot: number): Promise<boolean>;
  /** Starts the probation cell anew; resolves when it answers. */
  restartProbation(): Promise<void>;
  /** The version is in quarantine by now. */
  isQuarantined(namespace: string, name: string, version: number): boolean;
}

/** A call as the edge resolved it. */
export interface DispatchRequest {
  readonly envelope: CallEnvelope;
  readonly target: RouteTarget;
  readonly route: FunctionRoute;
  readonly row: NamespaceRoute | undefined;
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
  /** Content length where the client said it. */
  readonly bodyBytes: number | undefined;
  readonly client: string | undefined;
  readonly departure: Departure;
  /** A slot where it must not run, among others that may. */
  readonly avoid?: number;
}

/**
 * The client's going. A handler that returns then drops its request to the cell, which is how the
 * cell learns of it: no abort signal has to travel with every call.
 */
export class Departure {
  readonly gone: Promise<undefined>;
  isGone = false;
  readonly #resolve: (value: undefined) => void;
  #onGone: (() => void) | undefined;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.gone = promise;
    this.#resolve = resolve;
  }

  /** One listener; the latest counts. */
  onGone(listener: () => void): void {
    this.#onGone = listener;
  }

  leave(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.#resolve(undefined);
    this.#onGone?.();
  }
}

/** An answer with its lease still held: `release` when its body has left. */
export interface Dispatched {
  readonly response: Response;
  readonly slot: number;
  readonly queueMs: number;
  /** The head has left and the body streams: the watchdog's picture needs to know. */
  markStreaming(): void;
  release(isClean: boolean): void;
}

/** How often an idempotent call may be sent in all. */
const MAX_SENDS = 3;
/** How long the verdict over a dead cell is waited for before its calls are answered. */
const VERDICT_WAIT_MS = 2_000;
const VERDICT_LOOK_MS = 10;
/** Between two looks at a probation cell that is another's for a while. */
const RESERVED_LOOK_MS = 100;
/** How long a call that is sent again waits to learn whether it is a suspect. */
const RESEND_WAIT_MS = 1_000;

export class Dispatcher {
  readonly admission: Admission;
  readonly inFlight = new InFlight();
  readonly suspects = new Suspects();
  readonly probation = new ProbationRoom();
  isDraining = false;
  readonly #options: DispatcherOptions;
  readonly #verdicts = new Map<number, Verdict>();
  #waitingForCell = 0;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.admission = new Admission(options.pool);
  }

  /**
   * Runs the call.
   *
   * @throws IsolaError those of admission; `CELL_LOST`, `CELL_RESTARTING`, `CAPACITY`,
   * `MAX_BLOCK`, `MEMORY_LIMIT`.
   */
  async dispatch(request: DispatchRequest): Promise<Dispatched> {
    if (this.isDraining) throw draining(request);
    const startedAtMs = this.#options.clock.now();
    const bytes = await this.#keepBody(request);
    for (let sends = 1; ; sends += 1) {
      const lease = await this.#lease(request);
      const queueMs = this.#options.clock.now() - startedAtMs;
      const sent = await this.#send(request, bytes, lease, queueMs);
      if (!("lost" in sent)) return sent;
      const mayRepeat =
        sent.lost === "unsent" ? canResend(request, bytes) : isRepeatable(request, bytes);
      const isSpent = sends >= MAX_SENDS || request.departure.isGone;
      if (!mayRepeat || isSpent) throw await this.#lostError(request, lease.slot, sent.sentAtMs);
      // A suspect must not take the next cell with it.
      if (sent.lost === "sent") await this.verdictOf(lease.slot, sent.sentAtMs, RESEND_WAIT_MS);
    }
  }

  /** Takes the watchdog's verdict: suspects, convictions, and calls that wait for it. */
  takeVerdict(verdict: Verdict): ReturnType<Suspects["take"]> {
    this.#options.pool.markLost(verdict.slot);
    this.#verdicts.set(verdict.slot, verdict);
    if (verdict.slot === PROBATION_SLOT) this.probation.renew();
    return this.suspects.take(verdict, this.inFlight.streamingFrom(verdict.slot));
  }

  /** A body that may have to be sent again is kept; every other streams through. */
  async #keepBody(request: DispatchRequest): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { body, bodyBytes, target } = request;
    if (!body || !target.idempotent) return undefined;
    if (bodyBytes === undefined || bodyBytes > LIMITS.retryBodyMaxBytes) return undefined;
    return new Uint8Array(await new Response(body).arrayBuffer());
  }

  /** A lease in the group where the call belongs when it gets it: it may have waited. */
  async #lease(request: DispatchRequest): Promise<Lease> {
    const { ns, fn, v } = request.envelope;
    const { clock } = this.#options;
    const untilMs = clock.now() + LIMITS.queueWaitMaxMs;
    for (;;) {
      const group = await this.#groupUp(request);
      const admitted = this.#admit(request, group);
      const isImmediate = "release" in admitted;
      if (isImmediate && group !== PROBATION_GROUP) return admitted;
      const lease = isImmediate ? admitted : await this.#wait(request, admitted);
      const isQuarantined = this.#options.isQuarantined(ns, fn, v);
      const isPlaced = !isQuarantined && this.#groupOf(request) === group;
      if (isPlaced && (await this.#enter(request, group, lease))) return lease;
      lease.release();
      if (isQuarantined) throw quarantined(request);
      if (clock.now() > untilMs) throw noRoom(request);
    }
  }

  /** A turn in the probation cell; false: it is another's for a while, the lease went back. */
  async #enter(request: DispatchRequest, group: CellGroup, lease: Lease): Promise<boolean> {
    if (group !== PROBATION_GROUP) return true;
    const { clock, pool } = this.#options;
    const { ns, fn, v } = request.envelope;
    const key = suspectKey(ns, fn, v);
    // A handler that the runtime drops with its client never gets past the waits below.
    request.departure.onGone(() => lease.release());
    const admittance = this.probation.enter(key, this.suspects.isOnTrial(key), clock.now());
    if (admittance === "enter") return true;
    if (admittance === "reserved") {
      lease.release();
      await sleep(RESERVED_LOOK_MS);
      return false;
    }
    try {
      await this.#options.restartProbation();
    } catch (thrown) {
      lease.release();
      throw thrown;
    }
    this.probation.renew();
    const untilMs = clock.now() + LIMITS.restartWaitMaxMs;
    while (pool.upSlots(group).length === 0 && clock.now() < untilMs) await sleep(RESERVED_LOOK_MS);
    return this.probation.enter(key, true, clock.now()) === "enter";
  }

  #admit(request: DispatchRequest, group: CellGroup): Lease | Ticket {
    const { clock } = this.#options;
    const { row, target, envelope, avoid } = request;
    return this.admission.admit(
      {
        namespace: envelope.ns,
        name: envelope.fn,
        group,
        maxInFlight: target.maxInFlight,
        callsPerSecondMax: row?.callsPerSecondMax ?? 0,
        inFlightMax: row?.inFlightMax ?? 0,
        ...(avoid !== undefined && { avoid }),
      },
      clock.now(),
    );
  }

  #groupOf(request: DispatchRequest): CellGroup {
    const { pool, clock } = this.#options;
    const { ns, fn, v } = request.envelope;
    const isSuspect = this.suspects.has(suspectKey(ns, fn, v), clock.now());
    return isSuspect && pool.hasGroup(PROBATION_GROUP) ? PROBATION_GROUP : groupOf(request.row);
  }

  async #wait(request: DispatchRequest, ticket: Ticket): Promise<Lease> {
    const late = timeout(LIMITS.queueWaitMaxMs);
    // A handler that the runtime drops with its client never gets past the wait below.
    request.departure.onGone(() => ticket.leave());
    const settled = await Promise.race([ticket.lease, request.departure.gone, late.elapsed]);
    late.cancel();
    if (typeof settled === "object") return settled;
    ticket.leave();
    // The lease may have come in the same turn as the end of the wait: it goes back.
    void ticket.lease.then((lease) => lease.release());
    throw noRoom(request);
  }

  /** The group that runs the call, as soon as one of its cells is up. */
  async #groupUp(request: DispatchRequest): Promise<CellGroup> {
    const { pool, clock } = this.#options;
    const untilMs = clock.now() + LIMITS.restartWaitMaxMs;
    for (;;) {
      const group = this.#groupOf(request);
      if (pool.upSlots(group).length > 0) return group;
      const leftMs = untilMs - clock.now();
      const isFull = this.#waitingForCell >= LIMITS.queueMaxCalls;
      if (leftMs <= 0 || isFull || request.departure.isGone) throw restarting(request, group);
      const stopWaiting = this.#countWaiting(request.departure);
      const late = timeout(leftMs);
      await Promise.race([pool.changed(), late.elapsed]);
      late.cancel();
      stopWaiting();
    }
  }

  /** Counts out once, also where the runtime drops the handler with its client. */
  #countWaiting(departure: Departure): () => void {
    let isCounted = true;
    this.#waitingForCell += 1;
    const stopWaiting = (): void => {
      if (isCounted) this.#waitingForCell -= 1;
      isCounted = false;
    };
    departure.onGone(stopWaiting);
    return stopWaiting;
  }

  async #send(
    request: DispatchRequest,
    bytes: Uint8Array<ArrayBuffer> | undefined,
    lease: Lease,
    queueMs: number,
  ): Promise<Dispatched | { lost: "unsent" | "sent"; sentAtMs: number }> {
    const { envelope } = request;
    const { slot } = lease;
    const key = suspectKey(envelope.ns, envelope.fn, envelope.v);
    const { departure } = request;
    const entry = {
      callId: envelope.id,
      slot,
      key,
      client: request.client,
      cancel: () => departure.leave(),
      isStreaming: false,
    };
    this.inFlight.add(entry);
    const release = (isClean: boolean): void => {
      this.inFlight.remove(envelope.id);
      if (slot === PROBATION_SLOT) this.#leaveProbation(key, isClean);
      lease.release();
    };
    departure.onGone(() => release(false));
    const sentAtMs = this.#options.clock.now();
    const pid = this.#options.pool.pidOf(slot);
    try {
      const sending = this.#options.cell(slot).fetch(request.url, {
        method: request.method,
        headers: request.headers,
        body: bytes ?? request.body,
        redirect: "manual",
        cf: packEnvelope(envelope) as unknown as CfProperties,
      });
      const response = await Promise.race([sending, departure.gone]);
      if (response === undefined) throw gone(request);
      return {
        response,
        slot,
        queueMs,
        markStreaming: () => {
          entry.isStreaming = true;
        },
        release,
      };
    } catch (thrown) {
      release(false);
      if (departure.isGone) throw gone(request);
      const lost = classifyLost(thrown);
      // A body that its client breaks off looks the same as a cell that dies.
      const isDead = lost === "unsent" || (await this.#options.isDead(slot));
      if (departure.isGone) throw gone(request);
      if (!isDead) throw unanswered(request, thrown);
      this.#options.pool.markLost(slot, pid);
      if (slot === PROBATION_SLOT) this.probation.renew();
      return { lost, sentAtMs };
    }
  }

  #leaveProbation(key: SuspectKey, isClean: boolean): void {
    const nowMs = this.#options.clock.now();
    this.probation.leave(key, this.suspects.isOnTrial(key), nowMs);
    if (isClean) this.suspects.acquit(key, nowMs);
  }

  /**
   * The verdict over what died after a call was sent to it; undefined if none comes: in time, or
   * before the next process, of which the host speaks later.
   *
   * @param pid the process that died, unless it was marked as lost.
   */
  async verdictOf(
    slot: number,
    sentAtMs: number,
    boundMs: number,
    pid?: number,
  ): Promise<Verdict | undefined> {
    const { clock, pool } = this.#options;
    const untilMs = clock.now() + boundMs;
    for (;;) {
      const verdict = this.#verdicts.get(slot);
      if (verdict && verdict.atMs >= sentAtMs) return verdict;
      const isNext = pool.isUp(slot) && (pid === undefined || pool.pidOf(slot) !== pid);
      if (clock.now() >= untilMs || isNext) return undefined;
      await sleep(VERDICT_LOOK_MS);
    }
  }

  /** What to say of a call whose cell died: in the probation cell the verdict decides. */
  async #lostError(request: DispatchRequest, slot: number, sentAtMs: number): Promise<IsolaError> {
    const { ns, fn, v, id } = request.envelope;
    // Elsewhere, too: who is told and calls again at once must not take the next cell with it.
    // At the platform's end there is neither a verdict nor a next cell.
    const waitMs = this.isDraining ? 0 : VERDICT_WAIT_MS;
    const verdict = await this.verdictOf(slot, sentAtMs, waitMs);
    const isProbation = slot === PROBATION_SLOT;
    if (isProbation && verdict?.convicted === suspectKey(ns, fn, v)) {
      return convicted(request, verdict);
    }
    return new IsolaError("CELL_LOST", {
      attempted: `call ${fn}`,
      found: `the cell died while it ran call ${id}`,
      required: "a living cell until the answer",
    });
  }
}

function canResend(request: DispatchRequest, bytes: Uint8Array | undefined): boolean {
  return request.body === null || bytes !== undefined;
}

function isRepeatable(request: DispatchRequest, bytes: Uint8Array | undefined): boolean {
  return request.target.idempotent && canResend(request, bytes);
}

function convicted(request: DispatchRequest, verdict: Verdict): IsolaError {
  const attempted = `call ${request.envelope.fn}`;
  switch (verdict.cause) {
    case "MAX_BLOCK":
      return new IsolaError("MAX_BLOCK", {
        attempted,
        found: `the thread held for more than ${request.target.maxBlockMs} ms`,
        required: "a function that yields within its maxBlockMs",
      });
    case "MEMORY_LIMIT":
      return new IsolaError("MEMORY_LIMIT", {
        attempted,
        found: "the memory of its cell exhausted",
      });
    case "CELL_LOST":
      return new IsolaError("CELL_LOST", {
        attempted,
        found: "the process that ran it alone crashed",
        fix: "look for native crashes in the cell's log; the function is counted as convicted",
      });
  }
}

/**
 * The cell lives: it is the answer that could not be carried. Or the body: one that comes in
 * chunks may be wrong while its client is still there.
 */
function unanswered(request: DispatchRequest, thrown: unknown): IsolaError {
  const isChunked = request.body !== null && request.bodyBytes === undefined;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new IsolaError(isChunked ? "INPUT_MALFORMED" : "RESULT_INVALID", {
    attempted: `call ${request.envelope.fn}`,
    found: `a connection that broke off (${message})`,
    required: isChunked ? "a body of whole chunks" : "an answer whose head is not too large",
  });
}

function noRoom(request: DispatchRequest): IsolaError {
  return new IsolaError("CAPACITY", {
    attempted: `call ${request.envelope.fn}`,
    found: `no free cell within ${LIMITS.queueWaitMaxMs} ms`,
    retryAfterSeconds: 5,
  });
}

function draining(request: DispatchRequest): IsolaError {
  return new IsolaError("DRAINING", {
    attempted: `call ${request.envelope.fn}`,
    found: "a platform that is shutting down",
    retryAfterSeconds: 2,
  });
}

function restarting(request: DispatchRequest, group: CellGroup): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: `call ${request.envelope.fn}`,
    found: `no cell of group ${group} up`,
    retryAfterSeconds: 1,
  });
}

function quarantined(request: DispatchRequest): IsolaError {
  const { fn, v } = request.envelope;
  return new IsolaError("FUNCTION_QUARANTINED", {
    attempted: `call ${fn}`,
    found: `version ${v} in quarantine`,
    required: "a version that neither blocks nor kills its cell",
  });
}

function gone(request: DispatchRequest): IsolaError {
  return new IsolaError("CONFLICT", {
    attempted: `call ${request.envelope.fn}`,
    found: "a client that has gone",
  });
}
