/**
 * faas-flow's DataStore and StateStore over a job of the store, for code that was written for them.
 *
 * Both live beside each other in one job, under `<flow>/<request>/`, so that requests that share a
 * client's job do not meet. Where the job is a call's or run's own, its end is a `cleanup` as well.
 */
import { IsolaError } from "../contract/index.ts";
import type { StoreBucket, StoreJob } from "./store.ts";

interface FlowStore {
  /** Whose data it is; before anything else. @default `flow` and `request`: one each per job */
  configure(flow: string, request: string): void;
  /** Nothing to do: buckets are made by the first `set`. */
  init(): Promise<void>;
  /** Removes everything of this flow and request. */
  cleanup(): Promise<void>;
}

/** Intermediate data by key: octets. */
export interface DataStore extends FlowStore {
  set(key: string, value: Uint8Array): Promise<void>;
  /** @throws Error `OBJECT_NOT_FOUND`; `VALUE_LOST` with its reason. */
  get(key: string): Promise<Uint8Array>;
  /** Whether or not it is there. */
  del(key: string): Promise<void>;
}

/** Small state by key: text, on disk before the answer. */
export interface StateStore extends FlowStore {
  set(key: string, value: string): Promise<void>;
  /** @throws Error `OBJECT_NOT_FOUND`. */
  get(key: string): Promise<string>;
  /**
   * Sets `value` if `before` stands there: one of many that do so at once succeeds.
   *
   * @throws Error `PRECONDITION_FAILED` if another value stands there, or none.
   */
  update(key: string, before: string, value: string): Promise<void>;
}

/** faas-flow's DataStore over a job, for example `dataStore(ctx.store)`. */
export function dataStore(job: StoreJob): DataStore {
  return new FlowData(job.bucket("faas-flow-data"));
}

/** faas-flow's StateStore over a job. */
export function stateStore(job: StoreJob): StateStore {
  return new FlowState(job.bucket("faas-flow-state"));
}

class FlowBucket {
  protected readonly bucket: StoreBucket;
  #prefix = "flow/request/";

  constructor(bucket: StoreBucket) {
    this.bucket = bucket;
  }

  configure(flow: string, request: string): void {
    this.#prefix = `${encodeURIComponent(flow)}/${encodeURIComponent(request)}/`;
  }

  async init(): Promise<void> {}

  async cleanup(): Promise<void> {
    const prefix = this.#prefix;
    for (;;) {
      const { objects, cursor } = await this.bucket.list({ prefix });
      await Promise.all(objects.map(({ key }) => this.bucket.delete(key)));
      if (cursor === undefined) return;
    }
  }

  protected at(key: string): string {
    return this.#prefix + key;
  }

  protected async found<T>(key: string): Promise<T> {
    const value = await this.bucket.get<T>(this.at(key));
    if (value !== undefined) return value;
    throw new IsolaError("OBJECT_NOT_FOUND", { attempted: `get ${key}`, found: "nothing" });
  }
}

class FlowData extends FlowBucket implements DataStore {
  async set(key: string, value: Uint8Array): Promise<void> {
    await this.bucket.put(this.at(key), value);
  }

  get(key: string): Promise<Uint8Array> {
    return this.found(key);
  }

  async del(key: string): Promise<void> {
    await this.bucket.delete(this.at(key));
  }
}

class FlowState extends FlowBucket implements StateStore {
  async set(key: string, value: string): Promise<void> {
    await this.bucket.put(this.at(key), String(value), { durability: "disk" });
  }

  get(key: string): Promise<string> {
    return this.found(key);
  }

  async update(key: string, before: string, value: string): Promise<void> {
    const options = { durability: "disk" } as const;
    const { stored } = await this.bucket.compareAndSet(this.at(key), before, value, options);
    if (stored) return;
    throw new IsolaError("PRECONDITION_FAILED", {
      attempted: `update ${key}`,
      found: "another value, or none",
      required: JSON.stringify(before),
    });
  }
}
