/**
 * A job in another process: operations go through the supply socket to the gateway, and from there
 * to the cell that has the shard (contract/store-call.ts).
 */
import { RpcTarget } from "cloudflare:workers";
import {
  type ErrorData,
  IsolaError,
  type ObjectInfo,
  STORE_HEADER,
  STORE_LIMITS,
  type StoreAnswers,
  type StoreCall,
  type StoreOpening,
  type StoreOperationName,
  type StoreRead,
  type StoreReaderTarget,
  type StoreRequest,
  type StoreResult,
  type StoreTarget,
  type StoreUploadResult,
  type StoreUploadTarget,
  VALUE_OPERATIONS,
  VALUE_TYPE,
  parseErrorData,
} from "../contract/index.ts";
import type { SupplyClient } from "./supply-client.worker.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";

/** Operations that have their value beside them. */
const WITH_VALUE: ReadonlySet<StoreOperationName> = new Set(["put", "getPut", "compareAndSet"]);

interface Sending {
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  readonly type?: string;
  readonly ordinal?: number | undefined;
  readonly signal?: AbortSignal;
}

export class WireStore implements StoreTarget {
  readonly #supply: SupplyClient;
  readonly #shard: number;
  readonly #opening: StoreOpening;

  constructor(supply: SupplyClient, shard: number, opening: StoreOpening) {
    this.#supply = supply;
    this.#shard = shard;
    this.#opening = opening;
  }

  /** Makes the job, if it is one to make. @returns why it is not there */
  async create(): Promise<ErrorData | undefined> {
    const { create } = this.#opening;
    if (!create) return undefined;
    const result = await this.#send({ op: "createJob", ...create });
    return result.ok ? undefined : result.error;
  }

  async run(call: StoreCall, value?: unknown, ordinal?: number): Promise<StoreResult> {
    if (!WITH_VALUE.has(call.op)) return this.#send(call, { body: null, ordinal });
    const octets = octetsOf(value);
    const type = octets ? "application/octet-stream" : VALUE_TYPE;
    return this.#send(call, { body: octets ?? encodeValue(value), type, ordinal });
  }

  read(bucket: string, key: string): Promise<StoreRead> {
    return this.run({ op: "get", bucket, key, brief: true });
  }

  async upload(
    call: StoreCall & { readonly op: "put" },
    ordinal?: number,
  ): Promise<StoreUploadResult> {
    const { readable, writable } =
      call.sizeBytes === undefined
        ? new IdentityTransformStream()
        : new FixedLengthStream(call.sizeBytes);
    const controller = new AbortController();
    const type = "application/octet-stream";
    const { signal } = controller;
    const answer = this.#send(call, { body: readable, type, ordinal, signal });
    return { ok: true, upload: new WireUpload(writable.getWriter(), answer, controller) };
  }

  async #send(
    call: StoreCall,
    { body, type, ordinal, signal }: Sending = { body: null },
  ): Promise<StoreResult> {
    const { namespace, job, attempt } = this.#opening;
    const request: StoreRequest = {
      shard: this.#shard,
      namespace,
      job,
      call,
      ...(attempt && { attempt }),
      ...(ordinal !== undefined && { ordinal }),
    };
    try {
      const response = await this.#supply.store({
        method: "POST",
        body,
        ...(signal ? { signal } : {}),
        cf: request as unknown as CfProperties,
        headers: type === undefined ? {} : { "content-type": type },
      });
      return await readAnswer(call, response);
    } catch (thrown) {
      return { ok: false, error: outOfReach(thrown).toData() };
    }
  }
}

async function readAnswer(call: StoreCall, response: Response): Promise<StoreResult> {
  if (!response.ok) {
    const error = parseErrorData(await response.json().catch(() => undefined));
    return { ok: false, error: error ?? outOfReach(`status ${response.status}`).toData() };
  }
  if (!VALUE_OPERATIONS.includes(call.op)) {
    return { ok: true, answer: await response.json() };
  }
  const answer = JSON.parse(response.headers.get(STORE_HEADER) ?? "{}") as StoreAnswers["get"];
  const type = response.headers.get("content-type");
  if (type === VALUE_TYPE) {
    return { ok: true, answer, value: decodeValue(new Uint8Array(await response.arrayBuffer())) };
  }
  const { found } = answer;
  if (found && response.body && lengthOf(response, found) > STORE_LIMITS.inlineReadMaxBytes) {
    const from = call.op === "get" ? (call.range?.start ?? 0) : 0;
    return { ok: true, answer, reader: new WireReader(response.body, from) };
  }
  const octets = new Uint8Array(await response.arrayBuffer());
  return type === null ? { ok: true, answer } : { ok: true, answer, value: octets };
}

function lengthOf(response: Response, found: ObjectInfo): number {
  const length = response.headers.get("content-length");
  return length === null ? found.sizeBytes : Number(length);
}

/** The body of an answer, read in order. */
class WireReader extends RpcTarget implements StoreReaderTarget {
  readonly #body: ReadableStreamBYOBReader;
  #at: number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(body: ReadableStream<Uint8Array>, start: number) {
    super();
    this.#body = body.getReader({ mode: "byob" });
    this.#at = start;
  }

  read(start: number, end: number): Promise<Uint8Array> {
    const read = this.#last.then(() => this.#next(start, end));
    this.#last = read.catch(() => undefined);
    return read;
  }

  async #next(start: number, end: number): Promise<Uint8Array> {
    const sizeBytes = end - start;
    if (start !== this.#at || !(sizeBytes >= 0 && sizeBytes <= STORE_LIMITS.chunkMaxBytes)) {
      throw new IsolaError("RANGE_INVALID", {
        attempted: `read octets ${String(start)} to ${String(end)}`,
        found: `a reader at ${String(this.#at)}`,
        required: "chunks in order",
      });
    }
    if (sizeBytes === 0) return new Uint8Array(0);
    const { value } = await this.#body.readAtLeast(sizeBytes, new Uint8Array(sizeBytes));
    if (value?.byteLength !== sizeBytes) throw outOfReach("a value that broke off");
    this.#at = end;
    return value;
  }

  [Symbol.dispose](): void {
    this.#body.cancel().catch(() => undefined);
  }
}

class WireUpload extends RpcTarget implements StoreUploadTarget {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #answer: Promise<StoreResult>;
  readonly #controller: AbortController;
  #isFinished = false;

  /** @param controller of the request that carries the octets. */
  constructor(
    writer: WritableStreamDefaultWriter<Uint8Array>,
    answer: Promise<StoreResult>,
    controller: AbortController,
  ) {
    super();
    this.#writer = writer;
    this.#answer = answer;
    this.#controller = controller;
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#writer.write(chunk);
  }

  async finish(): Promise<StoreResult> {
    this.#isFinished = true;
    // What a broken pipe means stands in the answer.
    await this.#writer.close().catch(() => undefined);
    return this.#answer;
  }

  [Symbol.dispose](): void {
    if (this.#isFinished) return;
    // Not the writer's abort: workerd would end the body of the request as if it were whole.
    this.#controller.abort(outOfReach("an upload that was dropped"));
  }
}

function octetsOf(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (value instanceof Uint8Array) return value as Uint8Array<ArrayBuffer>;
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
}

function outOfReach(thrown: unknown): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: "use the store",
    found: thrown instanceof Error ? thrown.message : String(thrown),
    retryAfterSeconds: 1,
  });
}
