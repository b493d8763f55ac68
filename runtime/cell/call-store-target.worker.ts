/**
 * What tenant code holds of a job: the operations of a function, for as long as its call lasts.
 * It stands where the job's operations run, in the shard's actor or before the wire.
 */
import { RpcTarget } from "cloudflare:workers";
import {
  IsolaError,
  type LockResult,
  type StoreAnswers,
  type StoreCall,
  type StoreOpening,
  type StoreOperationName,
  type StoreRead,
  type StoreResult,
  type StoreTarget,
  type StoreUploadResult,
} from "../contract/index.ts";
import { currentCell } from "./cell.worker.ts";
import type { StoreOfCall } from "./live-calls.worker.ts";

/** What functions may ask; the rest belongs to the platform. */
const ALLOWED: ReadonlySet<StoreOperationName> = new Set([
  "put",
  "get",
  "stat",
  "take",
  "delete",
  "expire",
  "list",
  "increment",
  "getPut",
  "compareAndSet",
  "lock",
  "renew",
  "unlock",
  "createBucket",
  "destroyBucket",
  "endJob",
  "job",
]);

/** A job for who asked, in the actor that has it; the platform itself names no call. */
export function openForCall(opening: StoreOpening, open: () => StoreTarget): StoreTarget {
  const { callId, job } = opening;
  if (callId === undefined) return open();
  // Looked at again here: the call may have ended while this was on its way.
  if (!storeInUse(callId)) return new RefusingTarget(callEnded());
  return new CallStoreTarget(open(), { job, callId });
}

export class CallStoreTarget extends RpcTarget implements StoreTarget {
  readonly #inner: StoreTarget;
  readonly #job: string;
  readonly #callId: string;

  constructor(inner: StoreTarget, { job, callId }: { job: string; callId: string }) {
    super();
    this.#inner = inner;
    this.#job = job;
    this.#callId = callId;
  }

  async run(call: StoreCall, value?: unknown): Promise<StoreResult> {
    const store = storeInUse(this.#callId);
    if (!store) return refused(callEnded());
    const op: unknown = (call as Partial<StoreCall> | null)?.op;
    if (!ALLOWED.has(op as StoreOperationName)) return refused(notAllowed(op));
    if (call.op === "take") return this.#take(call, store);
    if (call.op === "endJob") return this.#end(call);
    if (!isImmediate(call)) return this.#inner.run(call, value);
    const ordinal = store.nextOrdinal();
    const result = await this.#inner.run(call, value, ordinal);
    // Who waits for a lock asks as often as it takes: another number of times in each attempt.
    const isRefused = result.ok && call.op === "lock" && !(result.answer as LockResult).acquired;
    if (isRefused) store.passOver(ordinal);
    return result;
  }

  async read(bucket: string, key: string): Promise<StoreRead> {
    if (!storeInUse(this.#callId)) return refused(callEnded());
    return this.#inner.read(bucket, key);
  }

  async upload(call: StoreCall & { readonly op: "put" }): Promise<StoreUploadResult> {
    const store = storeInUse(this.#callId);
    if (!store) return refused(callEnded());
    if (call?.op !== "put") return refused(notAllowed(call?.op));
    if (!isImmediate(call)) return this.#inner.upload(call);
    return this.#inner.upload(call, store.nextOrdinal());
  }

  async #take(call: StoreCall & { readonly op: "take" }, store: StoreOfCall): Promise<StoreResult> {
    // Staged, where the call works for an attempt: then there is no lease.
    const result = await this.#inner.run({ ...call, leaseMs: store.leaseMs });
    if (!result.ok) return result;
    const { lease, found } = result.answer as StoreAnswers["take"];
    if (lease === undefined || !found) return result;
    if (store.took({ job: this.#job, lease, found })) return result;
    await this.#inner.run({ op: "giveBack", lease });
    return refused(callEnded());
  }

  async #end(call: StoreCall & { readonly op: "endJob" }): Promise<StoreResult> {
    const found = await this.#inner.run({ op: "job" });
    if (!found.ok) return found;
    const { kind } = found.answer as StoreAnswers["job"];
    if (kind === "client") return this.#inner.run(call);
    return refused(
      new IsolaError("CONFLICT", {
        attempted: `end store job ${this.#job}`,
        found: `the job of a ${kind}`,
        required: "a job that a client or createJob made",
        fix: "It ends with its run or call.",
      }),
    );
  }
}

const IMMEDIATE: ReadonlySet<StoreOperationName> = new Set([
  "increment",
  "getPut",
  "compareAndSet",
  "lock",
  "unlock",
]);

/** It takes effect at once, in an attempt, too: each has a number (G2). */
function isImmediate(call: StoreCall): boolean {
  if (call.op !== "put") return IMMEDIATE.has(call.op);
  const { ifAbsent, ifPresent, ifVersion } = call.options ?? {};
  return ifAbsent === true || ifPresent === true || ifVersion !== undefined;
}

/** Answers everything with one refusal. */
export class RefusingTarget extends RpcTarget implements StoreTarget {
  readonly #error: IsolaError;

  constructor(error: IsolaError) {
    super();
    this.#error = error;
  }

  async run(): Promise<StoreResult> {
    return refused(this.#error);
  }

  async read(): Promise<StoreRead> {
    return refused(this.#error);
  }

  async upload(): Promise<StoreUploadResult> {
    return refused(this.#error);
  }
}

function storeInUse(callId: string): StoreOfCall | undefined {
  const store = currentCell()?.live.get(callId)?.store;
  return store?.isOpen === true ? store : undefined;
}

function refused(error: IsolaError): StoreResult & { ok: false } {
  return { ok: false, error: error.toData() };
}

export function callEnded(): IsolaError {
  return new IsolaError("ATTEMPT_ENDED", {
    attempted: "use the store of a call",
    found: "the call is over",
    required: "a call in flight, or its waitUntil",
    fix: "A stream of an answer may go on with what was opened before the answer.",
  });
}

function notAllowed(op: unknown): IsolaError {
  return new IsolaError("VALUE_INVALID", {
    attempted: "use the store",
    found: `the operation ${String(JSON.stringify(op)).slice(0, 100)}`,
    required: "an operation of functions",
  });
}
