/**
 * Admission: who may start now, who waits, who is refused (G8). Pure but for promises; time comes
 * in as an argument.
 *
 * A1 Calls in flight in a group never exceed its capacity; a slot is chosen by fewest in flight.
 * A2 Waiting calls are served round-robin over namespaces, first come first served within one: a
 *    namespace that floods the queue waits behind itself. In front of the probation cell, where one
 *    runs at a time, functions take turns; who waits there for a run lends the run its place.
 * A3 Every bound refuses with a code and a time to come back; nothing waits beyond its bound.
 * A4 Each lease is released once; a second release is ignored. What is counted in is counted out.
 */
import { IsolaError, LIMITS, functionKey } from "../contract/index.ts";
import { type CellGroup, PROBATION_GROUP } from "./cell-pool.ts";

export interface AdmissionRequest {
  readonly namespace: string;
  readonly name: string;
  readonly group: CellGroup;
  /** Calls at once of this function; 0 = no bound. */
  readonly maxInFlight: number;
  /** Quotas of the namespace; 0 = no bound. */
  readonly callsPerSecondMax: number;
  readonly inFlightMax: number;
  /** A slot that it does not get while another one has room. */
  readonly avoid?: number;
}

export interface Lease {
  readonly slot: number;
  release(): void;
}

/** A place in the queue. */
export interface Ticket {
  /** Resolves with a lease; rejects only through `leave`. */
  readonly lease: Promise<Lease>;
  /** Gives the place up. */
  leave(): void;
}

export interface AdmissionPool {
  upSlots(group: CellGroup): number[];
}

interface Waiting {
  readonly request: AdmissionRequest;
  readonly resolve: (lease: Lease) => void;
}

interface GroupState {
  inFlight: number;
  queued: number;
  /** Waiting calls by whose turn it is, in the order of the turns. */
  readonly queues: Map<string, Waiting[]>;
}

/** Token bucket: a second's worth of calls. */
interface Bucket {
  tokens: number;
  atMs: number;
}

export class Admission {
  readonly #pool: AdmissionPool;
  readonly #groups = new Map<CellGroup, GroupState>();
  readonly #perSlot = new Map<number, number>();
  readonly #lent = new Map<number, number>();
  readonly #perNamespace = new Map<string, number>();
  readonly #perFunction = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();

  constructor(pool: AdmissionPool) {
    this.#pool = pool;
  }

  get inFlight(): number {
    let sum = 0;
    for (const group of this.#groups.values()) sum += group.inFlight;
    return sum;
  }

  get queued(): number {
    let sum = 0;
    for (const group of this.#groups.values()) sum += group.queued;
    return sum;
  }

  inFlightOf(slot: number): number {
    return this.#perSlot.get(slot) ?? 0;
  }

  inFlightOfNamespace(namespace: string): number {
    return this.#perNamespace.get(namespace) ?? 0;
  }

  /**
   * A lease at once, or a place in the queue. Counts against the namespace's and the function's
   * bounds from here on, also while it waits.
   *
   * @throws IsolaError `RATE_LIMITED`, `QUEUE_FULL`.
   */
  admit(request: AdmissionRequest, nowMs: number): Lease | Ticket {
    this.#checkBounds(request, nowMs);
    const group = this.#group(request.group);
    const slot = group.queued === 0 ? this.#freeSlot(request.group, request.avoid) : undefined;
    if (slot !== undefined) {
      this.#count(request, 1);
      return this.#lease(request, group, slot);
    }
    this.#checkQueue(request, group);
    this.#count(request, 1);
    return this.#enqueue(request, group);
  }

  /**
   * Somebody who runs in the slot waits for others: until it takes its place back they may run
   * there, or it would wait for ever where one runs at a time.
   *
   * @returns takes the place back; once.
   */
  lend(group: CellGroup, slot: number): () => void {
    add(this.#lent, slot, 1);
    this.pump(group);
    let isLent = true;
    return () => {
      if (isLent) add(this.#lent, slot, -1);
      isLent = false;
    };
  }

  /** Serves the queues after the pool changed. */
  pump(groupName: CellGroup): void {
    const group = this.#groups.get(groupName);
    if (!group) return;
    while (group.queued > 0) {
      const slot = this.#freeSlot(groupName);
      if (slot === undefined) return;
      const next = takeNext(group);
      if (!next) return;
      next.resolve(this.#lease(next.request, group, slot));
    }
  }

  pumpAll(): void {
    for (const name of this.#groups.keys()) this.pump(name);
  }

  #group(name: CellGroup): GroupState {
    let group = this.#groups.get(name);
    if (!group) {
      group = { inFlight: 0, queued: 0, queues: new Map() };
      this.#groups.set(name, group);
    }
    return group;
  }

  /** The slot with the fewest calls in flight, if it has room (A1). */
  #freeSlot(group: CellGroup, avoid?: number): number | undefined {
    const bound = group === PROBATION_GROUP ? 1 : LIMITS.inFlightPerCell;
    let best: number | undefined;
    let fewest = bound;
    for (const slot of this.#pool.upSlots(group)) {
      const count = (this.#perSlot.get(slot) ?? 0) - (this.#lent.get(slot) ?? 0);
      if (slot !== avoid && count < fewest) {
        best = slot;
        fewest = count;
      }
    }
    return best;
  }

  #lease(request: AdmissionRequest, group: GroupState, slot: number): Lease {
    group.inFlight += 1;
    add(this.#perSlot, slot, 1);
    let isHeld = true;
    return {
      slot,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        group.inFlight -= 1;
        add(this.#perSlot, slot, -1);
        this.#count(request, -1);
        if (group.queued > 0) this.pump(request.group);
      },
    };
  }

  #enqueue(request: AdmissionRequest, group: GroupState): Ticket {
    const { promise, resolve } = Promise.withResolvers<Lease>();
    const waiting: Waiting = { request, resolve };
    const turn = turnOf(request);
    const queue = group.queues.get(turn);
    if (queue) queue.push(waiting);
    else group.queues.set(turn, [waiting]);
    group.queued += 1;
    return {
      lease: promise,
      leave: () => {
        const mine = group.queues.get(turn);
        const at = mine?.indexOf(waiting) ?? -1;
        if (!mine || at < 0) return;
        mine.splice(at, 1);
        if (mine.length === 0) group.queues.delete(turn);
        group.queued -= 1;
        this.#count(request, -1);
      },
    };
  }

  #count(request: AdmissionRequest, by: 1 | -1): void {
    add(this.#perNamespace, request.namespace, by);
    if (request.maxInFlight > 0) {
      add(this.#perFunction, functionKey(request.namespace, request.name), by);
    }
  }

  #checkBounds(request: AdmissionRequest, nowMs: number): void {
    const { namespace, name, maxInFlight, inFlightMax, callsPerSecondMax } = request;
    const ofFunction = this.#perFunction.get(functionKey(namespace, name)) ?? 0;
    if (maxInFlight > 0 && ofFunction >= maxInFlight) {
      throw limited(
        `call ${name}`,
        `${ofFunction} of its calls in flight`,
        `maxInFlight ${maxInFlight}`,
      );
    }
    const ofNamespace = this.#perNamespace.get(namespace) ?? 0;
    if (inFlightMax > 0 && ofNamespace >= inFlightMax) {
      throw limited(
        `call ${name}`,
        `${ofNamespace} calls of the namespace in flight`,
        `at most ${inFlightMax}`,
      );
    }
    if (callsPerSecondMax > 0 && !this.#takeToken(namespace, callsPerSecondMax, nowMs)) {
      throw limited(
        `call ${name}`,
        "no call left in this second",
        `at most ${callsPerSecondMax} calls a second`,
      );
    }
  }

  #takeToken(namespace: string, perSecond: number, nowMs: number): boolean {
    const bucket = this.#buckets.get(namespace) ?? { tokens: perSecond, atMs: nowMs };
    const gained = ((nowMs - bucket.atMs) / 1_000) * perSecond;
    const tokens = Math.min(perSecond, bucket.tokens + gained);
    const isTaken = tokens >= 1;
    this.#buckets.set(namespace, { tokens: isTaken ? tokens - 1 : tokens, atMs: nowMs });
    return isTaken;
  }

  #checkQueue(request: AdmissionRequest, group: GroupState): void {
    const own = group.queues.get(turnOf(request))?.length ?? 0;
    if (group.queued < LIMITS.queueMaxCalls && own < LIMITS.queueMaxCallsPerNamespace) return;
    throw new IsolaError("QUEUE_FULL", {
      attempted: `queue a call of ${request.name}`,
      found: `${own} calls of the namespace and ${group.queued} in all waiting`,
      required: `fewer than ${LIMITS.queueMaxCallsPerNamespace} and ${LIMITS.queueMaxCalls}`,
      retryAfterSeconds: 1,
    });
  }
}

function turnOf({ group, namespace, name }: AdmissionRequest): string {
  return group === PROBATION_GROUP ? functionKey(namespace, name) : namespace;
}

/** Next waiting call: the namespace whose turn it is goes to the end of the round (A2). */
function takeNext(group: GroupState): Waiting | undefined {
  const [turn] = group.queues;
  if (!turn) return undefined;
  const [namespace, queue] = turn;
  const next = queue.shift();
  group.queues.delete(namespace);
  if (queue.length > 0) group.queues.set(namespace, queue);
  if (next) group.queued -= 1;
  return next;
}

function add<K>(map: Map<K, number>, key: K, by: number): void {
  const value = (map.get(key) ?? 0) + by;
  if (value <= 0) map.delete(key);
  else map.set(key, value);
}

function limited(attempted: string, found: string, required: string): IsolaError {
  return new IsolaError("RATE_LIMITED", { attempted, found, required, retryAfterSeconds: 1 });
}
