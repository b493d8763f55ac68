/**
 * A job of the shard as others in the process hold it: stubs of these targets go from the actor
 * through the call scope into the isolate, and calls on them come straight to the actor.
 *
 * T1 An answer leaves after the position it depends on is on disk (S2, G9); one that depends on
 *    nothing unwritten leaves at once.
 * T2 A stub dies with the invocation that holds it: an upload that is not finished then stores
 *    nothing, a reader gives its hold back.
 * T3 What is thrown and is no error of the catalogue ends the actor (R2 of the store).
 * T4 However many operations follow one another, the process's sockets are looked at in between.
 */
import { RpcTarget } from "cloudflare:workers";
import {
  IsolaError,
  STORE_LIMITS,
  type StoreCall,
  type StoreOperations,
  type StoreRead,
  type StoreReaderTarget,
  type StoreResult,
  type StoreTarget,
  type StoreUploadResult,
  type StoreUploadTarget,
} from "../../contract/index.ts";
import type { ObjectReader, OperationId, Session, Store, Upload } from "../../../store/index.ts";
import { checkCall } from "./check-call.ts";
import { type JobView, type Outcome, runCall } from "./run-call.ts";
import { ofItsOwn } from "./stored-value.ts";

/** Chunks of one upload that may wait for their turn. */
const WRITES_IN_FLIGHT_MAX = 16;

/** What the actor gives to whom works in it. */
export interface Desk {
  readonly store: Store;
  readonly durable: number;
  committed(position: number): Promise<void>;
  /** After every piece of work: what it planned is set down. */
  plan(): void;
  /** An error of the catalogue as it is; anything else ends the actor (T3). */
  refusal(thrown: unknown, attempted: string): IsolaError;
  allow(allowances: Readonly<Record<string, number>>): void;
  endRuns(namespace: string): number;
  /** Before each operation: now and then, the others' turn (T4). */
  breath(): Promise<void> | undefined;
}

export interface JobName {
  readonly namespace: string;
  readonly job: string;
}

/** An attempt of a run's step, as it uses the run's job. */
export interface AttemptUse {
  readonly session: Session;
  readonly step: string;
}

export class JobTarget extends RpcTarget implements StoreTarget {
  readonly #desk: Desk;
  readonly #view: JobView;
  readonly #step: string | undefined;
  #session: Session | undefined;

  constructor(desk: Desk, { namespace, job }: JobName, attempt?: AttemptUse) {
    super();
    this.#desk = desk;
    this.#session = attempt?.session;
    this.#step = attempt?.step;
    this.#view = {
      store: desk.store,
      namespace,
      job,
      session: () => (this.#session ??= desk.store.session(namespace, job)),
      allow: (allowances) => desk.allow(allowances),
      endRuns: () => desk.endRuns(namespace),
    };
  }

  async run(call: StoreCall, value?: unknown, ordinal?: number): Promise<StoreResult> {
    const desk = this.#desk;
    let reader: ObjectReader | undefined;
    await desk.breath();
    try {
      const operation = this.#operation(ordinal);
      const outcome = await runCall(this.#view, checkCall(call), value, operation);
      reader = outcome.reader;
      desk.plan();
      if (outcome.position > desk.durable) await desk.committed(outcome.position);
      return resultOf(desk, outcome);
    } catch (thrown) {
      reader?.release();
      return refused(desk.refusal(thrown, "use the store"));
    }
  }

  async read(bucket: string, key: string): Promise<StoreRead> {
    const turn = this.#desk.breath();
    if (turn) await turn;
    return (
      this.#glance(bucket, key, this.#desk.durable) ??
      this.run({ op: "get", bucket, key, brief: true })
    );
  }

  /** What is wrong is said the long way. */
  #glance(bucket: unknown, key: unknown, durable: number): Uint8Array | undefined {
    if (typeof bucket !== "string" || typeof key !== "string") return undefined;
    try {
      const octets = this.#view.session().glance(bucket, key, durable);
      return octets && ofItsOwn(octets);
    } catch {
      return undefined;
    }
  }

  async upload(
    call: StoreCall & { readonly op: "put" },
    ordinal?: number,
  ): Promise<StoreUploadResult> {
    await this.#desk.breath();
    try {
      const checked = checkCall(call);
      if (checked.op !== "put") throw noUpload(checked.op);
      const { options, sizeBytes } = checked;
      const tooLarge = sizeBytes !== undefined && sizeBytes > STORE_LIMITS.objectMaxBytes;
      if (tooLarge) throw objectTooLarge(sizeBytes);
      const durability = options?.persist === true ? "disk" : options?.durability;
      const session = this.#view.session();
      const upload = session.upload(durability);
      const operation = this.#operation(ordinal);
      const target = new UploadTarget(this.#desk, { session, upload, call: checked, operation });
      return { ok: true, upload: target };
    } catch (thrown) {
      return refused(this.#desk.refusal(thrown, "begin an upload"));
    }
  }

  /** Of an attempt: the name under which the answer is recorded (G2). */
  #operation(ordinal: number | undefined): OperationId | undefined {
    if (ordinal === undefined || this.#step === undefined) return undefined;
    return { step: this.#step, ordinal };
  }
}

interface UploadParts {
  readonly session: Session;
  readonly upload: Upload;
  readonly call: StoreOperations["put"];
  readonly operation: OperationId | undefined;
}

class UploadTarget extends RpcTarget implements StoreUploadTarget {
  readonly #desk: Desk;
  readonly #parts: UploadParts;
  /** Chunks are taken one after the other, in the order in which they came. */
  #last: Promise<void> = Promise.resolve();
  #inFlight = 0;
  #isFinished = false;

  constructor(desk: Desk, parts: UploadParts) {
    super();
    this.#desk = desk;
    this.#parts = parts;
  }

  write(chunk: Uint8Array): Promise<void> {
    this.#inFlight += 1;
    const fault = chunkFault(chunk, this.#inFlight);
    const written = this.#last.then(() => this.#write(chunk, fault));
    this.#last = written.finally(() => {
      this.#inFlight -= 1;
    });
    // The next chunk and `finish` meet the failure, too.
    this.#last.catch(() => undefined);
    return written.catch((thrown: unknown) => {
      throw named(this.#desk.refusal(thrown, "store a chunk"));
    });
  }

  async finish(sizeBytes?: number): Promise<StoreResult> {
    const desk = this.#desk;
    this.#isFinished = true;
    const { session, upload, call, operation } = this.#parts;
    try {
      await this.#last;
      if (sizeBytes !== undefined && !Number.isSafeInteger(sizeBytes)) throw noSize(sizeBytes);
      await upload.finish(sizeBytes ?? call.sizeBytes);
      const { bucket, key, options } = call;
      const reply = await session.put(bucket, key, upload, options, operation);
      desk.plan();
      if (reply.position > desk.durable) await desk.committed(reply.position);
      return { ok: true, answer: reply.value };
    } catch (thrown) {
      await upload.abort();
      return refused(desk.refusal(thrown, "finish an upload"));
    }
  }

  [Symbol.dispose](): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    const { upload } = this.#parts;
    upload.abort().catch(() => undefined);
    this.#desk.plan();
  }

  async #write(chunk: Uint8Array, fault: IsolaError | undefined): Promise<void> {
    const { upload } = this.#parts;
    await this.#desk.breath();
    if (!fault) return upload.write(ofItsOwn(chunk));
    await upload.abort();
    throw fault;
  }
}

class ReaderTarget extends RpcTarget implements StoreReaderTarget {
  readonly #desk: Desk;
  readonly #reader: ObjectReader;

  constructor(desk: Desk, reader: ObjectReader) {
    super();
    this.#desk = desk;
    this.#reader = reader;
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    await this.#desk.breath();
    try {
      if (!isPiece(start, end)) throw noPiece(start, end);
      return ofItsOwn(await this.#reader.read(start, end));
    } catch (thrown) {
      throw named(this.#desk.refusal(thrown, "read an object"));
    }
  }

  [Symbol.dispose](): void {
    this.#reader.release();
    this.#desk.plan();
  }
}

function resultOf(desk: Desk, { answer, value, reader }: Outcome): StoreResult {
  if (reader) return { ok: true, answer, reader: new ReaderTarget(desk, reader) };
  return value === undefined ? { ok: true, answer } : { ok: true, answer, value };
}

function refused(error: IsolaError): { ok: false; error: ReturnType<IsolaError["toData"]> } {
  return { ok: false, error: error.toData() };
}

/** What crosses a border as an exception keeps its message only: so the code stands in it. */
function named(error: IsolaError): IsolaError {
  error.message = `${error.code}: ${error.message}`;
  return error;
}

function noUpload(op: string): IsolaError {
  return new IsolaError("VALUE_INVALID", {
    attempted: "begin an upload",
    found: `the operation ${op}`,
    required: "put",
  });
}

function objectTooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "store an object",
    found: `${String(sizeBytes)} bytes`,
    required: `at most ${String(STORE_LIMITS.objectMaxBytes)} bytes`,
    fix: "Cut it into several objects.",
  });
}

function chunkFault(chunk: unknown, inFlight: number): IsolaError | undefined {
  const sizeBytes = chunk instanceof Uint8Array ? chunk.byteLength : undefined;
  const isChunk = sizeBytes !== undefined && sizeBytes <= STORE_LIMITS.chunkMaxBytes;
  if (isChunk && inFlight <= WRITES_IN_FLIGHT_MAX) return undefined;
  return new IsolaError("VALUE_INVALID", {
    attempted: "store a chunk",
    found:
      sizeBytes === undefined
        ? `a ${typeof chunk}`
        : `${String(sizeBytes)} bytes, ${String(inFlight)} chunks in flight`,
    required:
      `a Uint8Array of at most ${String(STORE_LIMITS.chunkMaxBytes)} bytes, ` +
      `at most ${String(WRITES_IN_FLIGHT_MAX)} in flight`,
  });
}

function noSize(sizeBytes: unknown): IsolaError {
  return new IsolaError("VALUE_INVALID", {
    attempted: "finish an upload",
    found: `the size ${shown(sizeBytes)}`,
    required: "its bytes as a whole number, or nothing",
  });
}

/** Says of what is no number what it is, not what it says of itself. */
function shown(value: unknown): string {
  return typeof value === "number" ? String(value) : `a ${typeof value}`;
}

function isPiece(start: number, end: number): boolean {
  const isRange = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  return isRange && end - start <= STORE_LIMITS.chunkMaxBytes;
}

function noPiece(start: number, end: number): IsolaError {
  return new IsolaError("RANGE_INVALID", {
    attempted: "read octets of an object",
    found: `${shown(start)} to ${shown(end)}`,
    required: `at most ${String(STORE_LIMITS.chunkMaxBytes)} at once`,
  });
}
