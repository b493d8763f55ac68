/** The admin API and calls of functions, one method per route. */
import {
  type BundleModule,
  type CallRecord,
  type CellInfo,
  DEFAULT_NAMESPACE,
  type DeployMetadata,
  type DeployResult,
  type FunctionDetail,
  type FunctionSummary,
  type List,
  type LogLine,
  type ModuleKind,
  type NamespaceRequest,
  type NamespaceSummary,
  type PlatformStatus,
  type Role,
  type ScheduleSummary,
  type SecretSummary,
  type Span,
  type TraceSummary,
  type TokenCreated,
  type TokenSummary,
  type TrafficRequest,
  type UsageReport,
  type VersionSummary,
} from "../contract/index.ts";
import { followEvents } from "./events.ts";
import { RunsClient } from "./runs.ts";
import { StoreClient } from "./store.ts";
import { type AdminRequest, type Fetch, type Transport, reach, send } from "./transport.ts";

export interface ClientOptions {
  /** Admin address, such as `http://127.0.0.1:8081`. */
  readonly url: string;
  /** Public address, for `invoke`. Default: found through the admin address. */
  readonly publicUrl?: string | undefined;
  readonly token?: string | undefined;
  /** @default "default" */
  readonly namespace?: string | undefined;
  /** @default the global fetch */
  readonly fetch?: Fetch | undefined;
  /** Waits between two attempts to follow a stream. */
  readonly sleep?: ((delayMs: number) => Promise<void>) | undefined;
}

/** What `fetch` takes, in whichever type world this is compiled. */
type RequestHeaders = NonNullable<RequestInit["headers"]>;
type RequestBody = NonNullable<RequestInit["body"]>;

export interface InvokeInit {
  readonly method?: string;
  /** Path after the function's name, with its query. @default "" */
  readonly path?: string;
  readonly headers?: RequestHeaders;
  readonly body?: RequestBody;
  readonly signal?: AbortSignal;
}

export interface CallQuery {
  readonly function?: string | undefined;
  /** Calls since this time in milliseconds since the epoch. */
  readonly sinceMs?: number | undefined;
  readonly limit?: number | undefined;
}

export interface LogQuery {
  readonly function?: string | undefined;
  /** Lines since this time in milliseconds since the epoch. */
  readonly sinceMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Content types by which modules are told apart in a deploy request. */
export const MODULE_TYPES: Readonly<Record<ModuleKind, string>> = {
  js: "application/javascript+module",
  cjs: "application/javascript",
  text: "text/plain",
  json: "application/json",
  wasm: "application/wasm",
  data: "application/octet-stream",
};

export class IsolaClient {
  readonly namespace: string;
  /** Jobs and objects of the namespace. */
  readonly store: StoreClient;
  /** Asynchronous calls and workflows of the namespace. */
  readonly runs: RunsClient;
  readonly #options: ClientOptions;
  readonly #transport: Transport;
  #publicUrl: Promise<string> | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.namespace = options.namespace ?? DEFAULT_NAMESPACE;
    this.#transport = {
      url: options.url.replace(/\/+$/, ""),
      token: options.token,
      fetch: options.fetch ?? ((url, init) => fetch(url, init)),
    };
    this.store = new StoreClient(this.#transport, this.#path("store"));
    this.runs = new RunsClient(this.#transport, this.#path("runs"), options.sleep ?? pause);
  }

  get url(): string {
    return this.#transport.url;
  }

  /** The same platform, in another namespace. */
  in(namespace: string): IsolaClient {
    return new IsolaClient({ ...this.#options, namespace });
  }

  async deploy(
    name: string,
    metadata: DeployMetadata,
    modules: readonly BundleModule[],
    options: { readonly dryRun?: boolean } = {},
  ): Promise<DeployResult> {
    const form = new FormData();
    form.append("metadata", new Blob([JSON.stringify(metadata)], { type: "application/json" }));
    for (const module of modules) {
      const blob = new Blob([contentOf(module)], { type: MODULE_TYPES[module.kind] });
      form.append(module.name, blob, module.name);
    }
    return this.#json({
      attempted: `deploy function ${name}`,
      method: "PUT",
      path: this.#path(`functions/${encodeURIComponent(name)}`),
      query: { dryRun: options.dryRun === true ? 1 : undefined },
      form,
    });
  }

  async list(): Promise<readonly FunctionSummary[]> {
    return this.#items({ attempted: "list functions", path: this.#path("functions") });
  }

  async describe(name: string): Promise<FunctionDetail> {
    return this.#json({ attempted: `describe function ${name}`, path: this.#function(name) });
  }

  async versions(name: string): Promise<readonly VersionSummary[]> {
    const path = this.#function(name, "versions");
    return this.#items({ attempted: `list versions of ${name}`, path });
  }

  async remove(name: string): Promise<void> {
    const path = this.#function(name);
    await this.#send({ attempted: `remove function ${name}`, method: "DELETE", path });
  }

  /** Back to `version`, or to the one before the present one; all traffic at once. */
  async rollback(name: string, version?: number): Promise<FunctionDetail> {
    return this.traffic(name, version === undefined ? {} : { version }, `roll back ${name}`);
  }

  /** Gives `version` a share of the traffic. */
  async promote(name: string, version: number, percent = 100): Promise<FunctionDetail> {
    return this.traffic(name, { version, percent }, `promote ${name}`);
  }

  async traffic(
    name: string,
    request: TrafficRequest,
    attempted = `route calls of ${name}`,
  ): Promise<FunctionDetail> {
    const path = this.#function(name, "traffic");
    return this.#json({ attempted, method: "PUT", path, json: request });
  }

  /** Lifts a quarantine. */
  async release(name: string): Promise<FunctionDetail> {
    const path = this.#function(name, "release");
    return this.#json({ attempted: `release ${name}`, method: "POST", path });
  }

  /** Calls a function over the public listener. The response is the function's, errors included. */
  async invoke(name: string, init: InvokeInit = {}): Promise<Response> {
    return this.#invoke(name, init, "function");
  }

  /** Calls a function asynchronously. The response is 202 with the run's id, or a refusal. */
  async invokeAsync(name: string, init: InvokeInit = {}): Promise<Response> {
    return this.#invoke(name, init, "async-function");
  }

  /** What came of a run, over the public listener: 202 while there is nothing yet. */
  async result(id: string, init: Pick<InvokeInit, "headers" | "signal"> = {}): Promise<Response> {
    const url = `${await this.publicUrl()}/runs/${encodeURIComponent(id)}`;
    return this.#reachPublic(url, init, `read the result of run ${id}`);
  }

  /** Address of a function of this namespace at a public origin. */
  addressOf(publicUrl: string, name: string, route = "function"): string {
    const suffix = this.namespace === DEFAULT_NAMESPACE ? "" : `.${this.namespace}`;
    return `${publicUrl}/${route}/${encodeURIComponent(name)}${suffix}`;
  }

  /** Kept log lines, the oldest first. */
  async logs(query: LogQuery = {}): Promise<readonly LogLine[]> {
    return this.#items(this.#logRequest(query));
  }

  /** Kept log lines, then new ones as they appear, over broken connections. */
  async *followLogs(query: LogQuery = {}): AsyncGenerator<LogLine> {
    const request = this.#logRequest(query);
    const events = followEvents({
      open: (lastId) =>
        this.#send({
          ...request,
          query: { ...request.query, follow: 1 },
          headers: {
            accept: "text/event-stream",
            ...(lastId === "" ? {} : { "last-event-id": lastId }),
          },
        }),
      sleep: this.#options.sleep ?? pause,
      signal: query.signal,
    });
    for await (const event of events) yield JSON.parse(event.data) as LogLine;
  }

  readonly secrets = {
    list: async (): Promise<readonly SecretSummary[]> =>
      this.#items({ attempted: "list secrets", path: this.#path("secrets") }),
    put: async (name: string, value: string): Promise<SecretSummary> =>
      this.#json({
        attempted: `put secret ${name}`,
        method: "PUT",
        path: this.#path(`secrets/${encodeURIComponent(name)}`),
        json: { value },
      }),
    remove: async (name: string): Promise<void> => {
      const path = this.#path(`secrets/${encodeURIComponent(name)}`);
      await this.#send({ attempted: `remove secret ${name}`, method: "DELETE", path });
    },
  };

  /** The key that signs what callbacks of runs say (INTERFACE §5). */
  async callbackKey(): Promise<{ readonly key: string }> {
    return this.#json({ attempted: "read the callback key", path: this.#path("callback-key") });
  }

  readonly tokens = {
    list: async (): Promise<readonly TokenSummary[]> =>
      this.#items({ attempted: "list tokens", path: this.#path("tokens") }),
    /** The answer holds the token itself, which is shown only this once. */
    create: async (role: Role, label = ""): Promise<TokenCreated> =>
      this.#json({
        attempted: "create a token",
        method: "POST",
        path: this.#path("tokens"),
        json: { role, label },
      }),
    revoke: async (id: string): Promise<void> => {
      const path = this.#path(`tokens/${encodeURIComponent(id)}`);
      await this.#send({ attempted: `revoke token ${id}`, method: "DELETE", path });
    },
  };

  readonly namespaces = {
    list: async (): Promise<readonly NamespaceSummary[]> =>
      this.#items({ attempted: "list namespaces", path: "/v1/namespaces" }),
    create: async (request: NamespaceRequest): Promise<NamespaceSummary> =>
      this.#json({
        attempted: `create namespace ${request.namespace}`,
        method: "POST",
        path: "/v1/namespaces",
        json: request,
      }),
    /** Changes what is given; the rest stays. */
    update: async ({ namespace, ...changes }: NamespaceRequest): Promise<NamespaceSummary> =>
      this.#json({
        attempted: `change namespace ${namespace}`,
        method: "PATCH",
        path: `/v1/namespaces/${encodeURIComponent(namespace)}`,
        json: changes,
      }),
    /** With `force` also one that holds functions. */
    remove: async (namespace: string, options: { readonly force?: boolean } = {}) => {
      const path = `/v1/namespaces/${encodeURIComponent(namespace)}`;
      const query = { force: options.force === true ? 1 : undefined };
      const attempted = `remove namespace ${namespace}`;
      await this.#send({ attempted, method: "DELETE", path, query });
    },
  };

  /** Of all functions of the namespace, with the next tick of each. */
  async schedules(): Promise<readonly ScheduleSummary[]> {
    return this.#items({ attempted: "list schedules", path: this.#path("schedules") });
  }

  async usage(query: { readonly sinceMs?: number | undefined } = {}): Promise<UsageReport> {
    const path = this.#path("usage");
    return this.#json({ attempted: "read usage", path, query: { since: query.sinceMs } });
  }

  async cells(): Promise<readonly CellInfo[]> {
    return this.#items({ attempted: "list cells", path: "/v1/cells" });
  }

  async restartCell(slot: number): Promise<void> {
    const path = `/v1/cells/${String(slot)}/restart`;
    await this.#send({ attempted: `restart cell ${String(slot)}`, method: "POST", path });
  }

  async status(): Promise<PlatformStatus> {
    return this.#json({ attempted: "read the platform's status", path: "/v1/status" });
  }

  /** Metrics in Prometheus' text form. */
  async metrics(): Promise<string> {
    return (await this.#send({ attempted: "read metrics", path: "/metrics" })).text();
  }

  /** Kept records of finished calls: the newest ones, in the order in which they ended. */
  async calls(query: CallQuery = {}): Promise<readonly CallRecord[]> {
    const { sinceMs, ...rest } = query;
    const path = this.#path("calls");
    return this.#items({ attempted: "list calls", path, query: { ...rest, since: sinceMs } });
  }

  /** Kept traces: the newest ones, in the order in which they began. */
  async listTraces(query: CallQuery = {}): Promise<readonly TraceSummary[]> {
    const { sinceMs, ...rest } = query;
    const path = this.#path("traces");
    return this.#items({ attempted: "list traces", path, query: { ...rest, since: sinceMs } });
  }

  /** Kept spans of a trace, or of the trace that a call belongs to. */
  async traces(
    query: { readonly traceId: string } | { readonly callId: string },
  ): Promise<readonly Span[]> {
    return this.#items({ attempted: "read a trace", path: this.#path("traces"), query });
  }

  /** Origin of the public listener. */
  async publicUrl(): Promise<string> {
    this.#publicUrl ??= this.#findPublicUrl();
    return this.#publicUrl;
  }

  async #invoke(name: string, init: InvokeInit, route: string): Promise<Response> {
    const { path = "", ...rest } = init;
    const tail = path === "" || path.startsWith("/") || path.startsWith("?") ? path : `/${path}`;
    const url = this.addressOf(await this.publicUrl(), name, route) + tail;
    return this.#reachPublic(url, rest, `call function ${name}`);
  }

  async #reachPublic(
    url: string,
    init: Omit<InvokeInit, "path">,
    attempted: string,
  ): Promise<Response> {
    const headers = new Headers(init.headers);
    const { token } = this.#transport;
    if (token !== undefined && !headers.has("authorization")) {
      headers.set("authorization", `Bearer ${token}`);
    }
    return reach(this.#transport.fetch, url, { redirect: "manual", ...init, headers }, attempted);
  }

  async #findPublicUrl(): Promise<string> {
    const given = this.#options.publicUrl;
    if (given !== undefined) return given.replace(/\/+$/, "");
    const url = new URL(this.#transport.url);
    // The collapsed form has one port: the admin side is a host name on it.
    if (url.hostname.startsWith("admin.")) {
      url.hostname = url.hostname.slice("admin.".length);
      return url.origin;
    }
    const { publicPort } = await this.status();
    url.port = String(publicPort ?? Number(url.port) - 1);
    return url.origin;
  }

  #path(rest: string): string {
    return `/v1/namespaces/${encodeURIComponent(this.namespace)}/${rest}`;
  }

  #function(name: string, rest?: string): string {
    const path = this.#path(`functions/${encodeURIComponent(name)}`);
    return rest === undefined ? path : `${path}/${rest}`;
  }

  #logRequest(query: LogQuery): AdminRequest {
    return {
      attempted: "read logs",
      path: this.#path("logs"),
      query: { function: query.function, since: query.sinceMs },
      signal: query.signal,
    };
  }

  async #send(request: AdminRequest): Promise<Response> {
    return send(this.#transport, request);
  }

  async #json<T>(request: AdminRequest): Promise<T> {
    return (await (await this.#send(request)).json()) as T;
  }

  async #items<T>(request: AdminRequest): Promise<readonly T[]> {
    return (await this.#json<List<T>>(request)).items;
  }
}

function contentOf(module: BundleModule): string | Uint8Array<ArrayBuffer> {
  if (module.kind !== "wasm" && module.kind !== "data") return module.content;
  return Uint8Array.from(atob(module.content), (char) => char.charCodeAt(0));
}

/** Waits without a timer of its own: this file knows no more than the web's standards. */
async function pause(delayMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    AbortSignal.timeout(delayMs).addEventListener("abort", () => resolve());
  });
}
