/** What a cell asks of the gateway: code, secrets, routing; and what it tells it. */
import {
  type Bundle,
  type CallbackTold,
  type InstanceAsk,
  type InstanceReply,
  IsolaError,
  type RouteTarget,
  type RunReply,
  type RunStartAsked,
  type RunTold,
  STORE_ROUTE,
  SUPPLY,
  type SuppliedRouting,
  type SuppliedVersion,
  type TelemetryBatch,
  frame,
  parseErrorData,
} from "../contract/index.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";

const BASE = "http://supply";
/** Bundles kept in memory for functions that get a fresh isolate for every call. */
const KEPT_BUNDLES = 8;

export class SupplyClient {
  readonly #supply: Fetcher;
  readonly #bundles = new Map<string, Bundle>();

  constructor(supply: Fetcher) {
    this.#supply = supply;
  }

  snapshot(): Promise<SuppliedRouting> {
    return this.#get(SUPPLY.snapshot, {});
  }

  version(ns: string, fn: string, version: number): Promise<SuppliedVersion> {
    return this.#get(SUPPLY.version, { ns, fn, v: String(version) });
  }

  /** @param version undefined: the live one. */
  target(ns: string, fn: string, version: number | undefined): Promise<RouteTarget> {
    return this.#get(SUPPLY.target, {
      ns,
      fn,
      ...(version === undefined ? {} : { v: String(version) }),
    });
  }

  secrets(
    ns: string,
    fn: string,
    version: number,
    generation: number,
  ): Promise<Record<string, string>> {
    return this.#get(SUPPLY.secrets, { ns, fn, v: String(version), g: String(generation) });
  }

  async bundle(hash: string, keep: boolean): Promise<Bundle> {
    const known = this.#bundles.get(hash);
    if (known) return known;
    const bundle = await this.#get<Bundle>(SUPPLY.bundle, { hash });
    if (keep) this.keep(hash, bundle);
    return bundle;
  }

  keep(hash: string, bundle: Bundle): void {
    const [oldest] = this.#bundles.keys();
    if (this.#bundles.size >= KEPT_BUNDLES && oldest) this.#bundles.delete(oldest);
    this.#bundles.set(hash, bundle);
  }

  async tell(batch: TelemetryBatch): Promise<void> {
    const response = await this.#supply.fetch(BASE + SUPPLY.telemetry, {
      method: "POST",
      body: JSON.stringify(batch),
      headers: { "content-type": "application/json" },
    });
    await response.body?.cancel();
  }

  /** A call that must not run in this cell. */
  forward(path: string, init: RequestInit): Promise<Response> {
    return this.#supply.fetch(BASE + SUPPLY.call + path, init);
  }

  /** An attempt of a run, wherever the gateway places it. */
  attempt(init: RequestInit): Promise<Response> {
    return this.#supply.fetch(BASE + SUPPLY.attempt, init);
  }

  /** A run in another cell's shard, that a function starts with a value. */
  async start(asked: RunStartAsked, input: unknown): Promise<RunReply> {
    const init = { method: "POST", body: frame(asked, encodeValue(input)) };
    const response = await this.#supply.fetch(BASE + SUPPLY.start, init);
    const told: unknown = await response.json().catch(() => undefined);
    if (response.ok) return { ok: true, value: told as RunTold };
    const error = parseErrorData(told);
    if (error) return { ok: false, error };
    throw new IsolaError("INTERNAL", {
      attempted: "start a run",
      found: `status ${response.status}`,
    });
  }

  /** What a callback says, signed. */
  callback(init: RequestInit): Promise<Response> {
    return this.#supply.fetch(BASE + SUPPLY.callback, init);
  }

  /** What became of a callback. */
  async calledBack(told: CallbackTold): Promise<void> {
    const init = { method: "POST", body: JSON.stringify(told) };
    const response = await this.#supply.fetch(BASE + SUPPLY.calledBack, init);
    await response.body?.cancel();
  }

  /** An instance of a workflow in another cell's shard. */
  async instance(shard: number, ask: InstanceAsk, value: unknown): Promise<InstanceReply> {
    const query = new URLSearchParams({ shard: String(shard), ns: ask.namespace });
    const response = await this.#supply.fetch(`${BASE}${SUPPLY.instance}?${query.toString()}`, {
      method: "POST",
      body: encodeValue({ ask, value }),
    });
    if (response.ok) {
      return decodeValue(new Uint8Array(await response.arrayBuffer())) as InstanceReply;
    }
    const error = parseErrorData(await response.json().catch(() => undefined));
    if (error) return { ok: false, error };
    throw new IsolaError("INTERNAL", {
      attempted: "use an instance of a workflow",
      found: `status ${response.status}`,
    });
  }

  /** An operation on a job in another cell's shard. */
  store(init: RequestInit): Promise<Response> {
    return this.#supply.fetch(BASE + STORE_ROUTE, init);
  }

  async #get<T>(path: string, query: Record<string, string>): Promise<T> {
    let response: Response;
    try {
      response = await this.#supply.fetch(
        `${BASE}${path}?${new URLSearchParams(query).toString()}`,
      );
    } catch (thrown) {
      throw new IsolaError(
        "CELL_RESTARTING",
        {
          attempted: `ask the gateway for ${path}`,
          found: thrown instanceof Error ? thrown.message : String(thrown),
          retryAfterSeconds: 1,
        },
        { cause: thrown },
      );
    }
    if (response.ok) return response.json<T>();
    const data = parseErrorData(await response.json().catch(() => undefined));
    throw data
      ? IsolaError.fromData(data)
      : new IsolaError("INTERNAL", {
          attempted: `ask the gateway for ${path}`,
          found: `status ${response.status}`,
        });
  }
}
