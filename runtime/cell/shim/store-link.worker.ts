/** The way from `ctx.store` to a job: opened by the first operation, opened anew if it breaks. */
import {
  type ErrorCode,
  type ErrorData,
  IsolaError,
  type StoreAnswers,
  type StoreCall,
  type StoreJobInfo,
  type StoreJobRequest,
  type StoreOperationName,
  type StoreReaderTarget,
  type StoreResult,
  type StoreTarget,
  type StoreUploadResult,
  isErrorCode,
} from "../../contract/index.ts";
import { NativeOctets } from "./natives.worker.ts";

/** What an operation answered. */
export interface StoreFound<Name extends StoreOperationName> {
  readonly answer: StoreAnswers[Name];
  readonly value?: unknown;
  readonly reader?: StoreReaderTarget;
}

/** What the link needs of its call. */
export interface LinkOwner {
  /** Refuses code that runs in another call. */
  enter(): void;
  /** A job, by default the call's own; operations may be sent to the promise. */
  open(job: string | undefined): Promise<StoreTarget>;
  createJob(request: Partial<StoreJobRequest>): Promise<StoreResult>;
  /** Marks what was thrown as the function's own failure, if it catches it not. */
  mark(error: IsolaError): IsolaError;
}

type Pipelined = Promise<StoreTarget> & StoreTarget;

/** workerd's word for a message beyond `wholeMaxBytes`. */
const TOO_LARGE = "limited to 32MiB";

export class StoreLink {
  readonly #owner: LinkOwner;
  readonly #job: string | undefined;
  #opening: Pipelined | undefined;
  /** Once it is there: shorter than the promise's way. */
  #target: StoreTarget | undefined;

  constructor(owner: LinkOwner, job: string | undefined) {
    this.#owner = owner;
    this.#job = job;
  }

  /** @throws IsolaError as the catalogue says. */
  async run<Name extends StoreOperationName>(
    call: StoreCall,
    value?: unknown,
  ): Promise<StoreFound<Name>> {
    const result = await this.send(call.op, (target) =>
      value === undefined ? target.run(call) : target.run(call, value),
    );
    if (!result.ok) throw this.refused(result.error);
    return result as { readonly answer: unknown } as StoreFound<Name>;
  }

  /** @throws IsolaError as the catalogue says. */
  async read(bucket: string, key: string): Promise<Uint8Array | StoreFound<"get">> {
    const result = await this.send("get", (target) => target.read(bucket, key));
    if (result instanceof NativeOctets) return result;
    if (!result.ok) throw this.refused(result.error);
    return result as { readonly answer: unknown } as StoreFound<"get">;
  }

  /** Sends one message; what breaks on the way comes as an error of the catalogue. */
  async send<T>(op: StoreOperationName, message: (target: StoreTarget) => Promise<T>): Promise<T> {
    this.#owner.enter();
    try {
      return await message(this.#target ?? this.#open());
    } catch (thrown) {
      throw this.broken(op, thrown);
    }
  }

  upload(call: StoreCall & { readonly op: "put" }): Promise<StoreUploadResult> {
    return this.send(call.op, (target) => target.upload(call));
  }

  refused(error: ErrorData): IsolaError {
    // The job of a call in flight is there, unless its shard has lost it.
    if (this.#job === undefined && error.code === "JOB_NOT_FOUND") {
      return this.#error("VALUE_LOST", "use the store of the call", "a shard that opened anew");
    }
    return this.#owner.mark(IsolaError.fromData(error));
  }

  broken(op: string, thrown: unknown): unknown {
    const { code, name, message } = (thrown ?? {}) as Partial<Record<string, unknown>>;
    if (thrown instanceof IsolaError) return thrown;
    const attempted = `${op} in the store`;
    const found = String(message ?? thrown);
    if (name === "DataCloneError") return this.#error("VALUE_INVALID", attempted, found);
    if (found.includes(TOO_LARGE)) return this.#error("BODY_TOO_LARGE", attempted, found);
    // The scope of a call that is over throws its own.
    if (isErrorCode(code)) return this.#error(code, attempted, found);
    this.#target = undefined;
    this.#opening = undefined;
    return this.#error("CELL_RESTARTING", attempted, found);
  }

  #error(code: ErrorCode, attempted: string, found: string): IsolaError {
    return this.#owner.mark(new IsolaError(code, { attempted, found }));
  }

  #open(): StoreTarget {
    if (this.#opening) return this.#opening;
    const opening = this.#owner.open(this.#job) as Pipelined;
    this.#opening = opening;
    opening.then(
      (target) => {
        if (this.#opening === opening) this.#target = target;
      },
      () => {
        if (this.#opening === opening) this.#opening = undefined;
      },
    );
    return opening;
  }
}

/** The links of one call. */
export class StoreLinks {
  readonly #owner: LinkOwner;
  /** By job; undefined is the call's own. */
  readonly #links = new Map<string | undefined, StoreLink>();

  constructor(owner: LinkOwner) {
    this.#owner = owner;
  }

  link(job: string | undefined): StoreLink {
    let link = this.#links.get(job);
    if (!link) {
      link = new StoreLink(this.#owner, job);
      this.#links.set(job, link);
    }
    return link;
  }

  async createJob(request: Partial<StoreJobRequest>): Promise<StoreJobInfo> {
    const link = this.link(undefined);
    let result: StoreResult;
    this.#owner.enter();
    try {
      result = await this.#owner.createJob(request);
    } catch (thrown) {
      throw link.broken("createJob", thrown);
    }
    if (!result.ok) throw link.refused(result.error);
    return result.answer as StoreJobInfo;
  }
}
