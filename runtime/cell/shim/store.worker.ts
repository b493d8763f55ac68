/**
 * `ctx.store`: the SDK's operations as calls of the store (contract/store-call.ts). Nothing is
 * opened before the first operation, and that one travels with the opening.
 */
import {
  DEFAULT_BUCKET,
  type ErrorCode,
  IsolaError,
  type ListOptions,
  type ListPage,
  type LockResult,
  type ObjectInfo,
  type PutOptions,
  type PutResult,
  type StoreAnswers,
  type StoreFence,
  type StoreJobInfo,
  type StoreOperationName,
  type StoreRange,
  findUncloneable,
} from "../../contract/index.ts";
import type {
  LockOptions,
  StoreBucket,
  StoreJob,
  StoreJobOptions,
  StoreLock,
  StreamOptions,
} from "../../sdk/index.ts";
import { NativeOctets, later, now } from "./natives.worker.ts";
import type { StoreFound, StoreLink, StoreLinks } from "./store-link.worker.ts";
import {
  octetsOf,
  readOctets,
  streamOctets,
  uploadOctets,
  uploadStream,
} from "./store-octets.worker.ts";

const PUT_OPTIONS = [
  "persist",
  "ttlMs",
  "idleMs",
  "ifAbsent",
  "ifPresent",
  "ifVersion",
  "durability",
  "fence",
] as const;
/** Undefined is what is not there. */
const NOTHING = { kind: "undefined", path: "$" } as const;
/** Pauses between two tries to get a lock: first and longest. */
const LOCK_POLL_MS = { first: 2, longest: 50 };

type Answer<Name extends StoreOperationName> = StoreAnswers[Name];

class Bucket implements StoreBucket {
  readonly #name: string;
  protected readonly link: StoreLink;

  constructor(link: StoreLink, name: string) {
    this.link = link;
    this.#name = name;
  }

  async put(key: string, value: unknown, options?: PutOptions): Promise<PutResult> {
    const call = { op: "put", ...this.#at(key), ...putOptions(options) } as const;
    if (value instanceof ReadableStream) return uploadStream(this.link, call, value);
    const octets = octetsOf(value);
    if (octets) return uploadOctets(this.link, call, octets);
    checkValue(value);
    return (await this.link.run<"put">(call, value)).answer;
  }

  async get<Stored = unknown>(key: string): Promise<Stored | undefined> {
    const found = await this.link.read(this.#name, nameOf("key", key));
    return (found instanceof NativeOctets ? found : await this.#whole(found)) as Stored | undefined;
  }

  async take<Stored = unknown>(key: string): Promise<Stored | undefined> {
    const found = await this.link.run<"get">({ op: "take", ...this.#at(key) });
    return (await this.#whole(found)) as Stored | undefined;
  }

  async stream(
    key: string,
    options: StreamOptions = {},
  ): Promise<ReadableStream<Uint8Array> | undefined> {
    const { range, take } = pick("stream", options, ["range", "take"]);
    const octets = range === undefined ? {} : { range: rangeOf(range) };
    if (take === true && range !== undefined) {
      throw invalid("VALUE_INVALID", "stream", "take with a range", "a take of the whole object");
    }
    const op = take === true ? "take" : "get";
    const result = await this.link.run<"get">({ op, ...this.#at(key), ...octets });
    return streamOctets(this.link, result, octets.range);
  }

  async delete(key: string): Promise<boolean> {
    const { answer } = await this.link.run<"delete">({ op: "delete", ...this.#at(key) });
    return answer.existed;
  }

  async has(key: string): Promise<boolean> {
    return (await this.stat(key)) !== undefined;
  }

  async stat(key: string): Promise<ObjectInfo | undefined> {
    return (await this.link.run<"stat">({ op: "stat", ...this.#at(key) })).answer.found;
  }

  async list(options: ListOptions = {}): Promise<ListPage> {
    const picked = pick("list", options, ["prefix", "cursor", "limit"]);
    return (await this.link.run<"list">({ op: "list", bucket: this.#name, ...picked })).answer;
  }

  async incr(key: string, by = 1): Promise<number> {
    const call = { op: "increment", ...this.#at(key), by: Number(by) } as const;
    return (await this.link.run<"increment">(call)).answer.value;
  }

  decr(key: string, by = 1): Promise<number> {
    return this.incr(key, -by);
  }

  async getPut<Stored = unknown>(key: string, value: unknown): Promise<Stored | undefined> {
    checkValue(value);
    const call = { op: "getPut", ...this.#at(key) } as const;
    return (await this.link.run<"getPut">(call, value)).value as Stored | undefined;
  }

  async compareAndSet(
    key: string,
    expected: unknown,
    next: unknown,
    options?: PutOptions,
  ): Promise<PutResult> {
    if (expected !== undefined) checkValue(expected);
    checkValue(next);
    const call = { op: "compareAndSet", ...this.#at(key), ...putOptions(options) } as const;
    const both = expected === undefined ? { next } : { expected, next };
    return (await this.link.run<"compareAndSet">(call, both)).answer;
  }

  async expire(key: string, times: { ttlMs?: number; idleMs?: number }): Promise<boolean> {
    const picked = pick("expire", times, ["ttlMs", "idleMs"]);
    const call = { op: "expire", ...this.#at(key), ...picked } as const;
    return (await this.link.run<"expire">(call)).answer.existed;
  }

  async destroy(): Promise<void> {
    await this.link.run<"destroyBucket">({ op: "destroyBucket", bucket: this.#name });
  }

  #at(key: unknown): { bucket: string; key: string } {
    return { bucket: this.#name, key: nameOf("key", key) };
  }

  async #whole({ answer, value, reader }: StoreFound<"get">): Promise<unknown> {
    const { found } = answer;
    return reader && found ? readOctets(this.link, reader, found.sizeBytes) : value;
  }
}

export class Job extends Bucket implements StoreJob {
  readonly #links: StoreLinks;

  constructor(links: StoreLinks, id?: string) {
    super(links.link(id), DEFAULT_BUCKET);
    this.#links = links;
  }

  bucket(name: string): StoreBucket {
    return new Bucket(this.link, nameOf("bucket", name));
  }

  job(id: string): StoreJob {
    return new Job(this.#links, nameOf("job", id));
  }

  async lock(name: string, options: LockOptions): Promise<StoreLock | undefined> {
    const { leaseMs, waitMs = 0 } = pick("lock", options, ["leaseMs", "waitMs"]);
    if (typeof waitMs !== "number" || !(waitMs >= 0)) {
      throw invalid("VALUE_INVALID", "lock", `waitMs ${String(waitMs)}`, "milliseconds from 0");
    }
    const lock = nameOf("lock", name);
    const untilMs = now() + waitMs;
    for (
      let pauseMs = LOCK_POLL_MS.first;
      ;
      pauseMs = Math.min(pauseMs * 2, LOCK_POLL_MS.longest)
    ) {
      const call = { op: "lock", name: lock, leaseMs: Number(leaseMs) } as const;
      const { answer } = await this.link.run<"lock">(call);
      if (answer.acquired) return new Lock(this.link, lock, answer);
      const leftMs = untilMs - now();
      if (leftMs <= 0) return undefined;
      await new Promise<void>((resolve) => {
        later(resolve, Math.min(pauseMs, leftMs));
      });
    }
  }

  async info(): Promise<StoreJobInfo> {
    return (await this.link.run<"job">({ op: "job" })).answer;
  }

  async createJob(options: StoreJobOptions = {}): Promise<StoreJob> {
    const picked = pick("createJob", options, ["name", "durability", "hints"]);
    const { id } = await this.#links.createJob(picked);
    return this.job(id);
  }

  async end(): Promise<void> {
    await this.link.run<"endJob">({ op: "endJob" });
  }
}

class Lock implements StoreLock {
  readonly lock: string;
  readonly token: number;
  readonly #link: StoreLink;
  #leaseUntilMs: number;

  constructor(link: StoreLink, name: string, { token, leaseUntilMs }: LockResult) {
    this.#link = link;
    this.lock = name;
    this.token = token ?? 0;
    this.#leaseUntilMs = leaseUntilMs;
  }

  get leaseUntil(): Date {
    return new Date(this.#leaseUntilMs);
  }

  async renew(leaseMs: number): Promise<void> {
    const { lock: name, token } = this;
    const call = { op: "renew", name, token, leaseMs: Number(leaseMs) } as const;
    const answer: Answer<"renew"> = (await this.#link.run<"renew">(call)).answer;
    this.#leaseUntilMs = answer.leaseUntilMs;
  }

  async unlock(): Promise<void> {
    const { lock: name, token } = this;
    await this.#link.run<"unlock">({ op: "unlock", name, token });
  }
}

/** Options by name: what is unknown would be ignored in silence, and a function would travel. */
function pick<T extends object, K extends keyof T & string>(
  what: string,
  options: T,
  names: readonly K[],
): Pick<T, K> {
  const picked: Partial<Pick<T, K>> = {};
  for (const [name, value] of Object.entries(options ?? {})) {
    if (!names.includes(name as K)) {
      throw invalid("VALUE_INVALID", what, `the option ${name.slice(0, 64)}`, names.join(", "));
    }
    if (value === undefined) continue;
    if (typeof value === "function") {
      throw invalid("VALUE_INVALID", what, `a function as ${name}`, "data");
    }
    picked[name as K] = value as T[K];
  }
  return picked as Pick<T, K>;
}

function putOptions(options: PutOptions | undefined): { options?: PutOptions } {
  if (options === undefined) return {};
  const picked = pick("put", options, PUT_OPTIONS);
  const { fence } = picked as { fence?: StoreFence };
  if (fence === undefined) return { options: picked };
  const lock = nameOf("lock", fence.lock);
  return { options: { ...picked, fence: { lock, token: Number(fence.token) } } };
}

function rangeOf({ start, end }: StoreRange): StoreRange {
  return { start: Number(start), end: Number(end) };
}

function nameOf(what: string, name: unknown): string {
  if (typeof name === "string") return name;
  throw invalid("KEY_INVALID", `use a ${what}`, `a ${typeof name}`, "a string");
}

function checkValue(value: unknown): void {
  const lost = value === undefined ? NOTHING : findUncloneable(value);
  if (!lost) return;
  throw invalid(
    "VALUE_INVALID",
    "store a value",
    `${lost.kind} at ${lost.path}`,
    "data that can be cloned: no functions, shared memory or class instances, no streams inside",
  );
}

function invalid(code: ErrorCode, attempted: string, found: string, required: string): IsolaError {
  return new IsolaError(code, { attempted, found, required });
}
