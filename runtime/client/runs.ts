/** Runs: asynchronous calls and workflows, as those who operate them see them. */
import {
  type GraphFormat,
  type RestartVersions,
  type RunDetail,
  type RunGraph,
  type RunHistory,
  type RunHistoryLine,
  type RunInfo,
  type RunList,
  type RunReplay,
  type RunSignal,
  type RunStatusName,
} from "../contract/index.ts";
import { followEvents } from "./events.ts";
import { type AdminRequest, type Transport, send } from "./transport.ts";

export interface RunQuery {
  readonly function?: string | undefined;
  readonly status?: RunStatusName | undefined;
  /** Runs that failed and that nobody has replayed. */
  readonly deadLetters?: boolean | undefined;
  /** Runs that began since this time in milliseconds since the epoch. */
  readonly sinceMs?: number | undefined;
  /** Of one page. @default 100 */
  readonly limit?: number | undefined;
  /** Of the page before. */
  readonly cursor?: string | undefined;
}

export interface RunRestartOptions {
  /** A step, or `failed`: from where it stopped. Absent: another run with the same input. */
  readonly from?: string | undefined;
  /** With newer versions of functions: all of them, or those that are named. */
  readonly version?: RestartVersions | undefined;
}

export interface FollowRunOptions {
  /** Id of the last line that is known. */
  readonly after?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

type Sent = Omit<AdminRequest, "path">;

export class RunsClient {
  readonly #transport: Transport;
  readonly #path: string;
  readonly #sleep: (delayMs: number) => Promise<void>;

  /** @param path of the namespace's runs. @param sleep between two attempts to follow. */
  constructor(transport: Transport, path: string, sleep: (delayMs: number) => Promise<void>) {
    this.#transport = transport;
    this.#path = path;
    this.#sleep = sleep;
  }

  /** A page of runs, newest first, and the shards that could not be asked. */
  async list(query: RunQuery = {}): Promise<RunList> {
    const { sinceMs, deadLetters = false, ...rest } = query;
    const dead = deadLetters ? 1 : undefined;
    const request = {
      attempted: "list runs",
      query: { ...rest, since: sinceMs, deadLetters: dead },
    };
    return this.#json(request);
  }

  /** All runs, page by page. Errors: what keeps a shard from being asked. */
  async *all(query: Omit<RunQuery, "cursor"> = {}): AsyncGenerator<RunInfo> {
    let cursor: string | undefined;
    do {
      const page = await this.list({ ...query, cursor });
      yield* page.items;
      ({ cursor } = page);
    } while (cursor !== undefined);
  }

  /** A run with its steps. */
  async show(id: string): Promise<RunDetail> {
    return this.#json({ attempted: `read run ${id}` }, id);
  }

  /** What a run has done so far; `after` is the id of a line. */
  async history(id: string, after = ""): Promise<readonly RunHistoryLine[]> {
    const lines: RunHistoryLine[] = [];
    let last = after;
    for (let isMore = true; isMore;) {
      const query = { after: last === "" ? undefined : last };
      const page: RunHistory = await this.#json(
        { attempted: `read the history of run ${id}`, query },
        id,
        "history",
      );
      lines.push(...page.items);
      last = page.after;
      isMore = page.items.length > 0 && !page.isOver;
    }
    return lines;
  }

  /** The same, then what it does, until it ends; over broken connections. */
  async *follow(id: string, options: FollowRunOptions = {}): AsyncGenerator<RunHistoryLine> {
    const { after = "", signal } = options;
    const events = followEvents({
      open: (lastId) => {
        const known = lastId === "" ? after : lastId;
        return this.#send(
          {
            attempted: `follow run ${id}`,
            query: { follow: 1 },
            headers: {
              accept: "text/event-stream",
              ...(known === "" ? {} : { "last-event-id": known }),
            },
            signal,
          },
          id,
          "history",
        );
      },
      sleep: this.#sleep,
      signal,
    });
    for await (const { event, data } of events) {
      if (event === "end") return;
      yield JSON.parse(data) as RunHistoryLine;
    }
  }

  /** Nodes and edges of what the run did and will do. */
  async graph(id: string): Promise<RunGraph> {
    return this.#json({ attempted: `draw run ${id}` }, id, "graph");
  }

  /** The graph as text: DOT for Graphviz, or a Mermaid flowchart. */
  async drawing(id: string, format: GraphFormat): Promise<string> {
    const request = { attempted: `draw run ${id}`, query: { format } };
    return (await this.#send(request, id, "graph")).text();
  }

  /** The graph of a workflow before any run of it; it may depend on the input. */
  async definition(
    workflow: string,
    options: { readonly format?: GraphFormat; readonly input?: unknown } = {},
  ): Promise<string> {
    const { format, input } = options;
    const base = this.#path.slice(0, this.#path.lastIndexOf("/"));
    const response = await send(this.#transport, {
      attempted: `draw workflow ${workflow}`,
      path: `${base}/functions/${encodeURIComponent(workflow)}/graph`,
      query: { format, input: input === undefined ? undefined : JSON.stringify(input) },
    });
    return response.text();
  }

  /** Attempts under way end; nothing new begins. */
  async pause(id: string): Promise<RunInfo> {
    return this.#post(id, "pause", `pause run ${id}`, {});
  }

  async resume(id: string): Promise<RunInfo> {
    return this.#post(id, "resume", `resume run ${id}`, {});
  }

  /** Ends attempts and child runs; with `rollback` what was done is undone. */
  async terminate(id: string, options: { readonly rollback?: boolean } = {}): Promise<RunInfo> {
    return this.#post(id, "terminate", `terminate run ${id}`, options);
  }

  /** From a step the run itself goes on; else it is another run that is answered. */
  async restart(id: string, { from, version }: RunRestartOptions = {}): Promise<RunInfo> {
    return this.#post(id, "restart", `restart run ${id}`, { from, version });
  }

  /** Starts the request of a run that failed again, as a run of its own; once under a key. */
  async replay(id: string, options: RunReplay = {}): Promise<RunInfo> {
    return this.#post(id, "replay", `replay run ${id}`, options);
  }

  /** Sends an event to a run; one of an id that it knows is taken once. */
  async signal(id: string, event: RunSignal): Promise<RunInfo> {
    return this.#post(id, "events", `send an event to run ${id}`, event);
  }

  async #post(id: string, what: string, attempted: string, body: object): Promise<RunInfo> {
    return this.#json({ attempted, method: "POST", json: body }, id, what);
  }

  async #json<T>(request: Sent, id?: string, what?: string): Promise<T> {
    return (await (await this.#send(request, id, what)).json()) as T;
  }

  async #send(request: Sent, id?: string, what?: string): Promise<Response> {
    const parts = [this.#path, id === undefined ? undefined : encodeURIComponent(id), what];
    const path = parts.filter((part) => part !== undefined).join("/");
    return send(this.#transport, { ...request, path });
  }
}
