/**
 * Calls in flight in this cell, and the way to end each.
 *
 * C1 A scope is opened only for a call that stands here: in flight, or answered a short while ago
 *    (its stream or its `waitUntil` may still run). A stub kept for longer opens nothing.
 * C2 A call is ended by settling its `end`; whoever waits for it learns the reason once. The calls
 *    it made end with it.
 * C3 What a call holds is given back when it leaves, once. A driver that is dropped, because its
 *    caller answered without waiting, runs no `finally`: it is found by its silence (`sweep`).
 */
import {
  type CallEnvelope,
  type ErrorData,
  type ObjectInfo,
  unpackEnvelope,
} from "../contract/index.ts";

/** An object that a call has taken from the store, until the call settles. */
export interface Take {
  readonly job: string;
  readonly lease: number;
  readonly found: ObjectInfo;
}

/** What a call has of the store (call-store). */
export interface StoreOfCall {
  /** False once nothing of the call may use it any more. */
  readonly isOpen: boolean;
  /** How long a take may be undecided. */
  readonly leaseMs: number;
  /** False: the call settled meanwhile, and nobody will decide the take. */
  took(take: Take): boolean;
  /** Counts its immediate operations (G2). */
  nextOrdinal(): number;
  /** What had that number changed nothing; it need not come in the next attempt. */
  passOver(ordinal: number): void;
  /** Its `waitUntil` goes on after the answer, within a bound; `release` ends it. */
  hold(): void;
  /** Its answer is a stream that may read from the store; `release` ends it. */
  holdStream(): void;
  readonly isStreamed: boolean;
  release(): Promise<void>;
  /**
   * The call answered; await it before the answer leaves.
   *
   * @returns why what it took is not its own: then it has failed.
   */
  settle(isDone: boolean): Promise<ErrorData | undefined>;
  /** The call is over, whatever was told. Harmless after `settle`. */
  drop(): void;
}

export type EndReason = "deadline" | "disconnect" | "shutdown" | "canceled";

export class LiveCall {
  readonly envelope: CallEnvelope;
  readonly startedAtMs: number;
  /** Resolves with the reason when the call is to end; never rejects. */
  readonly end: Promise<EndReason>;
  readonly caller: LiveCall | undefined;
  /** Which of its caller's calls it is. */
  number = 0;
  /** No request stands behind it: it was made in the cell. */
  isInside = false;
  isWatched = false;
  /** Counts while the invocation of such a call is there. */
  beats = 0;
  /** As the last sweep saw it, and how often it found no beat since. */
  sweptBeats = -1;
  silences = 0;
  /** Its envelope as it came; of a call between functions there is none. */
  text: string | undefined;
  /** Gives back what the call holds; set by whoever runs it. */
  onLeave: (() => void) | undefined;
  /** Made at first use; most calls use none. */
  store: StoreOfCall | undefined;
  /** It is a session of code, of a run in this shard. */
  codeShard: number | undefined;
  /** Calls of attempts in that session, by step and token. */
  stepCalls: Map<string, LiveCall> | undefined;
  /** Opening of the shard that the session is of. */
  codeEpoch = 0;
  /** It is code that is no version yet: nothing of it may have an effect. */
  isReplay = false;
  hasLeft = false;
  /** It has answered, and said that its `waitUntil` goes on. */
  isWorking = false;
  /** How many calls it has made so far. */
  callsMade = 0;
  /** How many runs it has started so far. */
  starts = 0;
  /** Calls made by this one that have not left; most calls make none. */
  calls: Set<LiveCall> | undefined;
  readonly #end: (reason: EndReason) => void;

  constructor(envelope: CallEnvelope, startedAtMs: number, caller?: LiveCall) {
    const { promise, resolve } = Promise.withResolvers<EndReason>();
    this.envelope = envelope;
    this.startedAtMs = startedAtMs;
    this.caller = caller;
    this.end = promise;
    this.#end = resolve;
  }

  finish(reason: EndReason): void {
    this.#end(reason);
    for (const call of this.calls ?? []) call.finish(reason);
  }
}

export interface CallOrigin {
  readonly caller?: LiveCall;
  /** The envelope as it came, for a call that came from outside. */
  readonly text?: string;
  /** Made in the cell, and found by its silence if its invocation is dropped. */
  readonly isInside?: boolean;
  /** Made in the cell by an actor, which sees that it ends. */
  readonly isWatched?: boolean;
}

/** How long after its answer a call may still open its scope, at least; at most twice as long. */
const LINGER_MS = 15_000;
/** Time between two sweeps: longer than two beats (system-timers). */
const SWEEP_MS = 1_500;

/** A call that has answered, out of what was kept of it. */
function answeredCall(text: string): LiveCall {
  const call = new LiveCall(unpackEnvelope({ c: text }), 0);
  call.hasLeft = true;
  return call;
}

export class LiveCalls {
  readonly #calls = new Map<string, LiveCall>();
  /**
   * Answered calls of two generations, each dropped as a whole. At 4,000 calls a second these are
   * what the collector has to carry, so of most only the envelope's text is kept: with all of a
   * call it took a quarter of the cell's time under steady load, now an eighth.
   */
  #answered = new Map<string, LiveCall | string>();
  #formerlyAnswered = new Map<string, LiveCall | string>();
  #generationAtMs = 0;
  /** Calls that left since the last report, for the watchdog's picture. */
  #left: string[] = [];
  #sweptAtMs = 0;
  /** When the process last looked at its sockets: a call came from there, or a turn was given. */
  lookedAtMs = 0;

  get size(): number {
    return this.#calls.size;
  }

  open(
    envelope: CallEnvelope,
    startedAtMs: number,
    { caller, text, isInside = false, isWatched = false }: CallOrigin,
  ): LiveCall {
    const call = new LiveCall(envelope, startedAtMs, caller);
    call.text = text;
    call.isInside = isInside;
    call.isWatched = isWatched;
    this.#calls.set(envelope.id, call);
    if (caller) {
      caller.callsMade += 1;
      call.number = caller.callsMade;
      (caller.calls ??= new Set()).add(call);
    }
    if (isInside) this.sweep(startedAtMs);
    else if (!isWatched) this.lookedAtMs = startedAtMs;
    return call;
  }

  get(callId: string): LiveCall | undefined {
    const call = this.#calls.get(callId);
    if (call) return call;
    const answered = this.#answered.get(callId) ?? this.#formerlyAnswered.get(callId);
    return typeof answered === "string" ? answeredCall(answered) : answered;
  }

  close(call: LiveCall, nowMs: number): void {
    const { id } = call.envelope;
    if (!this.#calls.delete(id)) return;
    call.caller?.calls?.delete(call);
    call.hasLeft = true;
    call.onLeave?.();
    call.store?.drop();
    this.#left.push(id);
    if (nowMs - this.#generationAtMs >= LINGER_MS) this.#beginGeneration(nowMs);
    this.#answered.set(id, call.store ? call : (call.text ?? call));
  }

  #beginGeneration(nowMs: number): void {
    this.#formerlyAnswered = this.#answered;
    this.#answered = new Map();
    this.#generationAtMs = nowMs;
  }

  /** Closes calls within the cell whose invocation shows no life any more; costs little. */
  sweep(nowMs: number): void {
    if (nowMs - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = nowMs;
    for (const call of this.#calls.values()) {
      if (!call.isInside) continue;
      call.silences = call.beats === call.sweptBeats ? call.silences + 1 : 0;
      call.sweptBeats = call.beats;
      // Once may be a thread that was blocked: its timers are due, but have not had their turn.
      if (call.silences > 1) this.close(call, nowMs);
    }
  }

  /** An actor opens: calls of its runs that it watched in its former life are over. */
  abandon(shard: number, nowMs: number): void {
    const prefix = `${String(shard)}-`;
    for (const call of this.#calls.values()) {
      const isIts = call.isWatched && call.envelope.rs?.run.startsWith(prefix) === true;
      if (isIts) this.close(call, nowMs);
    }
  }

  endAll(reason: EndReason): void {
    for (const call of this.#calls.values()) call.finish(reason);
  }

  takeLeft(): string[] {
    const left = this.#left;
    this.#left = [];
    return left;
  }
}
