/** The ephemeral store over HTTP: jobs, their buckets, and the objects in them. */
import {
  DEFAULT_BUCKET,
  type Durability,
  IsolaError,
  type List,
  type ListOptions,
  type LockResult,
  type ObjectInfo,
  type PutOptions,
  type PutResult,
  type StoreJobHints,
  type StoreJobInfo,
  type StoreJobList,
} from "../contract/index.ts";
import { type AdminRequest, type BodyStream, send, type Transport } from "./transport.ts";

export interface StoreJobOptions {
  /** For people; need not be unique. */
  readonly name: string;
  /** Of objects that say nothing themselves. @default "memory" */
  readonly durability?: Durability | undefined;
  /** Under this name the platform learns how much such jobs need. */
  readonly workflow?: string | undefined;
  readonly hints?: StoreJobHints | undefined;
}

/** Octets of an object; a stream is sent as it comes, at constant memory. */
export type StoreBody = Uint8Array<ArrayBuffer> | BodyStream | string;

export interface StorePutOptions extends PutOptions {
  /** Of a stream, where it is known: what arrives short is not stored. */
  readonly sizeBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface StoreGetOptions {
  /** Octets from `start` up to `end`, without it. */
  readonly range?: { readonly start: number; readonly end?: number | undefined } | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A page of keys, in the order of their characters. */
export interface StorePage extends List<ObjectInfo> {
  /** For the next page; absent on the last. */
  readonly cursor?: string;
  /** Why there may have been more: values that only memory held when their cell died. */
  readonly lost?: string;
}

type Sent = Omit<AdminRequest, "path">;

/** An object that is being read: its octets once, by one of the methods. */
export class StoredObject {
  readonly info: ObjectInfo;
  readonly #response: Response;

  constructor(info: ObjectInfo, response: Response) {
    this.info = info;
    this.#response = response;
  }

  /** Octets as they come; null if there are none. */
  get body(): Response["body"] {
    return this.#response.body;
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await this.#response.arrayBuffer());
  }

  async text(): Promise<string> {
    return this.#response.text();
  }

  /** A structured value, as JSON carries it. Errors: `NOT_ACCEPTABLE` when it was asked for. */
  async value(): Promise<unknown> {
    return this.#response.status === 204 ? undefined : this.#response.json();
  }
}

/** An object that was taken: gone once acknowledged, back when given back or the lease ends. */
export class TakenObject extends StoredObject {
  readonly lease: number;
  readonly leaseUntilMs: number;
  readonly #end: (op: "acknowledge" | "return") => Promise<void>;

  constructor(
    info: ObjectInfo,
    response: Response,
    lease: { readonly lease: number; readonly leaseUntilMs: number },
    end: (op: "acknowledge" | "return") => Promise<void>,
  ) {
    super(info, response);
    this.lease = lease.lease;
    this.leaseUntilMs = lease.leaseUntilMs;
    this.#end = end;
  }

  /** Errors: `LOCK_STALE` after the lease's end. */
  async acknowledge(): Promise<void> {
    await this.#end("acknowledge");
  }

  /** Errors: `LOCK_STALE` after the lease's end. */
  async giveBack(): Promise<void> {
    await this.#end("return");
  }
}

export class StoreClient {
  readonly #transport: Transport;
  readonly #path: string;

  /** @param path of the namespace's store. */
  constructor(transport: Transport, path: string) {
    this.#transport = transport;
    this.#path = path;
  }

  /** Jobs of all shards; `missing` names the shards that are down. */
  async jobs(): Promise<StoreJobList> {
    const request = { attempted: "list store jobs", path: `${this.#path}/jobs` };
    return (await (await send(this.#transport, request)).json()) as StoreJobList;
  }

  async createJob(options: StoreJobOptions): Promise<StoreJobInfo> {
    const response = await send(this.#transport, {
      attempted: "create a store job",
      method: "POST",
      path: `${this.#path}/jobs`,
      json: options,
    });
    return (await response.json()) as StoreJobInfo;
  }

  /** Asks nothing: whether there is such a job, its operations say. */
  job(id: string): StoreJobClient {
    return new StoreJobClient(this.#transport, `${this.#path}/jobs/${encodeURIComponent(id)}`, id);
  }
}

export class StoreJobClient {
  readonly id: string;
  readonly #transport: Transport;
  readonly #path: string;

  constructor(transport: Transport, path: string, id: string) {
    this.#transport = transport;
    this.#path = path;
    this.id = id;
  }

  async info(): Promise<StoreJobInfo> {
    const request = { attempted: `read store job ${this.id}`, path: this.#path };
    return (await (await send(this.#transport, request)).json()) as StoreJobInfo;
  }

  /** Everything in it goes but what was persisted. Answers what it used. */
  async end(): Promise<StoreJobInfo> {
    const attempted = `end store job ${this.id}`;
    const request = { attempted, method: "DELETE", path: this.#path };
    return (await (await send(this.#transport, request)).json()) as StoreJobInfo;
  }

  /** @param name a bucket is made by what is first put into it. @default "default" */
  bucket(name: string = DEFAULT_BUCKET): StoreBucketClient {
    const path = `${this.#path}/buckets/${encodeURIComponent(name)}`;
    return new StoreBucketClient(this.#transport, path, name);
  }
}

export class StoreBucketClient {
  readonly name: string;
  readonly #transport: Transport;
  readonly #path: string;

  constructor(transport: Transport, path: string, name: string) {
    this.#transport = transport;
    this.#path = path;
    this.name = name;
  }

  async create(): Promise<StoreJobInfo> {
    const attempted = `create bucket ${this.name}`;
    const request = { attempted, method: "PUT", path: this.#path };
    return (await (await send(this.#transport, request)).json()) as StoreJobInfo;
  }

  /** With everything in it, persisted or not. */
  async remove(): Promise<void> {
    const attempted = `remove bucket ${this.name}`;
    await send(this.#transport, { attempted, method: "DELETE", path: this.#path });
  }

  async list(options: ListOptions = {}): Promise<StorePage> {
    const attempted = `list bucket ${this.name}`;
    const query = { prefix: options.prefix, limit: options.limit, cursor: options.cursor };
    const response = await send(this.#transport, { attempted, path: this.#path, query });
    return (await response.json()) as StorePage;
  }

  /** Every object, page after page. */
  async *objects(options: Omit<ListOptions, "cursor"> = {}): AsyncGenerator<ObjectInfo> {
    let cursor: string | undefined;
    do {
      const page = await this.list(cursor === undefined ? options : { ...options, cursor });
      yield* page.items;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  /** Stores octets. Errors: `PRECONDITION_FAILED`, `STORE_FULL`, `JOB_ENDED`, … */
  async put(key: string, body: StoreBody, options: StorePutOptions = {}): Promise<PutResult> {
    return this.#put(key, body, "application/octet-stream", options);
  }

  /** Stores a structured value, as JSON carries it; functions get it as it is. */
  async putValue(key: string, value: unknown, options: StorePutOptions = {}): Promise<PutResult> {
    return this.#put(key, JSON.stringify(value), "application/json", options);
  }

  /** Errors: `OBJECT_NOT_FOUND`, `RANGE_INVALID`, `VALUE_LOST`, … */
  async get(key: string, options: StoreGetOptions = {}): Promise<StoredObject> {
    const { range, signal } = options;
    const last = range?.end === undefined ? "" : String(range.end - 1);
    const headers = range ? { range: `bytes=${String(range.start)}-${last}` } : {};
    const response = await this.#ask(key, { attempted: `read ${key}`, headers, signal });
    return new StoredObject(this.#infoOf(key, response), response);
  }

  /** Looks without reading; undefined if there is nothing. */
  async stat(key: string): Promise<ObjectInfo | undefined> {
    try {
      const response = await this.#ask(key, { attempted: `look at ${key}`, method: "HEAD" });
      return this.#infoOf(key, response);
    } catch (error) {
      if (error instanceof IsolaError && error.code === "OBJECT_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** False if there was nothing. */
  async delete(key: string): Promise<boolean> {
    try {
      await this.#ask(key, { attempted: `delete ${key}`, method: "DELETE" });
      return true;
    } catch (error) {
      if (error instanceof IsolaError && error.code === "OBJECT_NOT_FOUND") return false;
      throw error;
    }
  }

  /** Reads once, under a lease. Errors: `OBJECT_NOT_FOUND`, … */
  async take(key: string, leaseMs?: number): Promise<TakenObject> {
    const response = await this.#operate(key, "take", { leaseMs });
    const lease = Number(response.headers.get("x-isola-lease"));
    const leaseUntilMs = Number(response.headers.get("x-isola-lease-until-ms"));
    const info = this.#infoOf(key, response);
    return new TakenObject(info, response, { lease, leaseUntilMs }, async (op) => {
      await this.#operate(key, op, { lease });
    });
  }

  /** Counts, from nothing if there is nothing. Errors: `COUNTER_INVALID`. */
  async incr(key: string, by = 1): Promise<number> {
    const response = await this.#operate(key, "incr", { by });
    return ((await response.json()) as { readonly value: number }).value;
  }

  async decr(key: string, by = 1): Promise<number> {
    return this.incr(key, -by);
  }

  /** Puts a value and answers what was there; undefined if there was nothing. */
  async getPut(key: string, value: unknown): Promise<unknown> {
    const json = JSON.stringify(value);
    const response = await this.#operate(key, "getPut", {}, { json });
    if (response.status === 204) return undefined;
    const type = response.headers.get("content-type");
    if (type === "application/json") return response.json();
    return new Uint8Array(await response.arrayBuffer());
  }

  /**
   * Puts `next` if the value is `expected`; undefined: if there is nothing.
   * Errors: `PRECONDITION_FAILED`.
   */
  async compareAndSet(
    key: string,
    expected: unknown,
    next: unknown,
    options: Pick<PutOptions, "durability" | "fence" | "idleMs" | "persist" | "ttlMs"> = {},
  ): Promise<PutResult> {
    const pair = expected === undefined ? { next } : { expected, next };
    const json = JSON.stringify(pair);
    const response = await this.#operate(key, "compareAndSet", putQuery(options), { json });
    return (await response.json()) as PutResult;
  }

  /** Sets both times anew; what is not given is taken off. Errors: `OBJECT_NOT_FOUND`. */
  async expire(key: string, times: { ttlMs?: number; idleMs?: number }): Promise<void> {
    await this.#operate(key, "expire", { ttlMs: times.ttlMs, idleMs: times.idleMs });
  }

  /**
   * Answers at once, acquired or not; the token fences writes. A job has one table of locks: as
   * `fence.lock` the name is the key, in other buckets than `default` `<bucket>/<key>`.
   */
  async lock(key: string, leaseMs?: number): Promise<LockResult> {
    return (await (await this.#operate(key, "lock", { leaseMs })).json()) as LockResult;
  }

  /** Errors: `LOCK_STALE`. */
  async renew(key: string, token: number, leaseMs?: number): Promise<LockResult> {
    return (await (await this.#operate(key, "renew", { token, leaseMs })).json()) as LockResult;
  }

  /** Errors: `LOCK_STALE`. */
  async unlock(key: string, token: number): Promise<void> {
    await this.#operate(key, "unlock", { token });
  }

  async #put(
    key: string,
    body: StoreBody,
    type: string,
    options: StorePutOptions,
  ): Promise<PutResult> {
    const { sizeBytes, signal } = options;
    const headers = {
      "content-type": type,
      ...(sizeBytes === undefined ? {} : { "content-length": String(sizeBytes) }),
      ...conditionsOf(options),
    };
    const query = putQuery(options);
    const request = { attempted: `put ${key}`, method: "PUT", query, headers, body, signal };
    return (await (await this.#ask(key, request)).json()) as PutResult;
  }

  async #operate(
    key: string,
    op: string,
    query: NonNullable<AdminRequest["query"]>,
    body: { readonly json?: string } = {},
  ): Promise<Response> {
    return this.#ask(key, {
      attempted: `${op} ${key}`,
      method: "POST",
      query: { op, ...query },
      ...(body.json === undefined
        ? {}
        : { body: body.json, headers: { "content-type": "application/json" } }),
    });
  }

  async #ask(key: string, request: Sent): Promise<Response> {
    // What no path carries: clients take "." and ".." for steps, and "" for none.
    const isPlain = key !== "" && key !== "." && key !== "..";
    const path = `${this.#path}/objects${isPlain ? `/${encodeKey(key)}` : ""}`;
    const query = isPlain ? request.query : { ...request.query, key };
    return send(this.#transport, { ...request, path, ...(query === undefined ? {} : { query }) });
  }

  #infoOf(key: string, { headers }: Response): ObjectInfo {
    const text = (name: string): string => headers.get(name) ?? "";
    const expiresAtMs = headers.get("x-isola-expires-at-ms");
    const idleMs = headers.get("x-isola-idle-ms");
    return {
      bucket: this.name,
      key,
      version: Number(text("etag").replaceAll('"', "")),
      kind: text("x-isola-kind") === "bytes" ? "bytes" : "value",
      sizeBytes: Number(text("x-isola-size-bytes")),
      persist: text("x-isola-persist") === "1",
      durability: text("x-isola-durability") as Durability,
      tier: text("x-isola-tier") as ObjectInfo["tier"],
      createdAtMs: Number(text("x-isola-created-at-ms")),
      ...(expiresAtMs === null ? {} : { expiresAtMs: Number(expiresAtMs) }),
      ...(idleMs === null ? {} : { idleMs: Number(idleMs) }),
    };
  }
}

function encodeKey(key: string): string {
  try {
    return encodeURIComponent(key);
  } catch {
    throw new IsolaError("KEY_INVALID", {
      attempted: "use a key",
      found: "half a character",
      required: "whole characters",
    });
  }
}

function putQuery(options: PutOptions): Record<string, string | number | undefined> {
  return {
    persist: options.persist === true ? 1 : undefined,
    ttlMs: options.ttlMs,
    idleMs: options.idleMs,
    durability: options.durability,
    fenceLock: options.fence?.lock,
    fenceToken: options.fence?.token,
  };
}

function conditionsOf(options: PutOptions): Record<string, string> {
  const { ifAbsent, ifPresent, ifVersion } = options;
  return {
    ...(ifAbsent === true ? { "if-none-match": "*" } : {}),
    ...(ifPresent === true ? { "if-match": "*" } : {}),
    ...(ifVersion === undefined ? {} : { "if-match": `"${String(ifVersion)}"` }),
  };
}
