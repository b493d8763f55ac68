/** Runs, for those who operate them (INTERFACE §6). */
import {
  GRAPH_FORMATS,
  type GraphFormat,
  RESTART_FAILED,
  RUN_ADMIN_LIMITS,
  RUN_STATUSES,
  type RunAsk,
  type RunCommand,
  type RunDetail,
  type RunHistory,
  type RunInfo,
  type RunList,
  type RunListFilter,
  IsolaError,
  newJobId,
  toHex,
} from "../contract/index.ts";
import { type AdminCall, type AdminRoute, json, readFields } from "./admin-route.worker.ts";
import { askRun, askRuns, isAway, missingShard, shardOfRun, tellRun } from "./ask-runs.worker.ts";
import { shardsOf } from "./ask-shard.worker.ts";
import { requireNamespace } from "./job-call.worker.ts";
import {
  type Field,
  flag,
  integer,
  optional,
  queryFlag,
  queryInteger,
  text,
} from "./request-fields.ts";
import { formatCursor, mergePages, parseCursor } from "./run-pages.ts";
import { pinsOf, targetOf, versionsField } from "./run-pins.worker.ts";
import { StepList } from "./run-steps.ts";
import { lastLine, streamHistory } from "./run-stream.worker.ts";
import { checkQuery } from "./store-request.ts";

const TIME_MAX_MS = 2 ** 52;
const STEP_MAX_CHARACTERS = 2_000;
/** Pages of its shards that one page is made of at most: looking for what is rare takes several. */
const ROUNDS_MAX = 8;
const EVENT_TYPE_MAX_CHARACTERS = 100;
const VERSION_MAX = 2 ** 31;
const RUN_HEX_DIGITS = 32;

type StartAgain = Extract<RunAsk, { readonly ask: "startAgain" }>;

export const RUN_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/runs",
    needs: "read",
    handle: async (call) => json(await listRuns(call)),
  },
  {
    method: "GET",
    path: "/runs/:run",
    needs: "read",
    handle: async (call) => json(await describeRun(call)),
  },
  {
    method: "GET",
    path: "/runs/:run/history",
    needs: "read",
    handle: readHistory,
  },
  {
    method: "GET",
    path: "/runs/:run/graph",
    needs: "read",
    handle: readGraph,
  },
  {
    method: "GET",
    path: "/functions/:name/graph",
    needs: "read",
    handle: readDefinition,
  },
  command("pause", async (call) => tell(call, await noFields(call, { type: "pause" }))),
  command("resume", async (call) => tell(call, await noFields(call, { type: "resume" }))),
  command("terminate", async (call) => {
    const fields = { rollback: optional(flag()) };
    const { rollback = false } = await readFields(call, fields, "terminate a run");
    return tell(call, { type: "terminate", rollback });
  }),
  command("restart", restartRun),
  command("replay", replayRun),
  command("events", signalRun),
];

interface Answered {
  readonly status?: number;
  readonly info: RunInfo;
}

/** What changes a run answers the run as it is then. */
function command(
  name: string,
  handle: (call: AdminCall) => Promise<RunInfo | Answered>,
): AdminRoute {
  return {
    method: "POST",
    path: `/runs/:run/${name}`,
    needs: "operate",
    handle: async (call) => {
      checkQuery(call.query, []);
      requireNamespace(call.state, call.namespace);
      const answer = await handle(call);
      return "info" in answer ? json(answer.info, answer.status) : json(answer);
    },
  };
}

async function noFields<C extends RunCommand>(call: AdminCall, told: C): Promise<C> {
  await readFields(call, {}, `${told.type} a run`);
  return told;
}

function tell(call: AdminCall, told: RunCommand): Promise<RunInfo> {
  const { state, namespace } = call;
  return tellRun(state, namespace, { ask: "tell", run: call.param("run"), command: told });
}

async function listRuns(call: AdminCall): Promise<RunList> {
  const { state, namespace, query } = call;
  checkQuery(query, ["function", "status", "deadLetters", "since", "sinceMs", "limit", "cursor"]);
  requireNamespace(state, namespace);
  const shards = shardsOf(state);
  const { limit, ...filter } = filterOf(query);
  let places = parseCursor(query.get("cursor"), shards.length);
  const items: RunInfo[] = [];
  for (let rounds = 1; ; rounds += 1) {
    const left = limit - items.length;
    const answers = await Promise.all(
      shards.map(async (shard) => {
        const place = places[shard];
        const cursor = place === undefined ? {} : { cursor: String(place) };
        const asked = { ...filter, limit: left, ...cursor };
        return askRuns<"list">(state, shard, namespace, { ask: "list", filter: asked }).then(
          (page) => ({ page, missing: [] }),
          (thrown: unknown) => ({
            page: undefined,
            missing: [missingShard(state, shard, thrown)],
          }),
        );
      }),
    );
    const merged = mergePages(
      answers.map(({ page }) => page),
      places,
      left,
    );
    items.push(...merged.runs);
    const missing = answers.flatMap((answer) => answer.missing);
    if (!merged.places) return { items, missing };
    places = merged.places;
    if (items.length >= limit || missing.length > 0 || rounds === ROUNDS_MAX) {
      return { items, cursor: formatCursor(places), missing };
    }
  }
}

function filterOf(query: URLSearchParams): RunListFilter & { readonly limit: number } {
  const workflow = query.get("function");
  const given = query.get("status");
  const status = RUN_STATUSES.find((one) => one === given);
  if (given !== null && status === undefined) {
    throw invalid(`status=${JSON.stringify(given.slice(0, 60))}`, RUN_STATUSES.join(", "));
  }
  const sinceMs = queryInteger(query, ["since", "sinceMs"], TIME_MAX_MS);
  const { pageMax, pageDefault } = RUN_ADMIN_LIMITS;
  const limit = queryInteger(query, ["limit"], pageMax) ?? pageDefault;
  if (limit < 1) throw invalid("limit=0", `an integer from 1 to ${String(pageMax)}`);
  return {
    ...(workflow !== null && { workflow }),
    ...(status !== undefined && { status }),
    ...(sinceMs !== undefined && { sinceMs }),
    ...(queryFlag(query, "deadLetters") && { isDeadOnly: true }),
    limit,
  };
}

async function describeRun(call: AdminCall): Promise<RunDetail> {
  const { state, namespace, query } = call;
  checkQuery(query, []);
  requireNamespace(state, namespace);
  const run = call.param("run");
  const steps = new StepList();
  for (let after = "", isMore = true; isMore;) {
    const asked = { ask: "history", run, after, waitMs: 0 } as const;
    const page: RunHistory = await askRun<"history">(state, namespace, asked);
    for (const line of page.items) steps.add(line);
    isMore = page.items.length > 0 && !page.isOver;
    ({ after } = page);
  }
  // After its history: a run that is told to have ended has all its steps.
  const { dues, ...shown } = await askRun<"show">(state, namespace, { ask: "show", run });
  return { namespace, ...shown, steps: steps.shown(dues), stepCount: steps.count };
}

async function readHistory(call: AdminCall): Promise<Response> {
  const { state, namespace, query, request } = call;
  checkQuery(query, ["follow", "after"]);
  requireNamespace(state, namespace);
  const run = call.param("run");
  const after = lastLine(request.headers, query);
  if (queryFlag(query, "follow")) return streamHistory({ state, namespace, run }, after);
  const asked = { ask: "history", run, after, waitMs: 0 } as const;
  return json(await askRun<"history">(state, namespace, asked));
}

const GRAPH_TYPES: Readonly<Record<GraphFormat, string>> = {
  json: "application/json",
  dot: "text/vnd.graphviz; charset=utf-8",
  mermaid: "text/plain; charset=utf-8",
};

async function readGraph(call: AdminCall): Promise<Response> {
  const { state, namespace, query } = call;
  checkQuery(query, ["format"]);
  requireNamespace(state, namespace);
  const format = formatOf(query);
  const asked = { ask: "graph", run: call.param("run"), format } as const;
  const { text: drawn } = await askRun<"graph">(state, namespace, asked);
  return graphResponse(drawn, format);
}

/** Of a workflow before any run of it, for an input: a graph may depend on it. */
async function readDefinition(call: AdminCall): Promise<Response> {
  const { state, namespace, query } = call;
  checkQuery(query, ["format", "input", "version"]);
  requireNamespace(state, namespace);
  const format = formatOf(query);
  const workflow = call.param("name");
  const given = queryInteger(query, ["version"], VERSION_MAX);
  const { version, form } = await targetOf(call, workflow, given ?? "latest");
  if (form !== "dag") {
    throw new IsolaError("REQUEST_INVALID", {
      attempted: `draw ${workflow}`,
      found: form === "code" ? "a workflow of code" : "a function that is no workflow",
      required: "a workflow that is a DAG",
      ...(form === "code" && { fix: "isola runs graph <run> draws what a run of it did." }),
    });
  }
  const input = inputOf(query);
  const asked = { ask: "draw", workflow, version, input, format } as const;
  return graphResponse(await drawSomewhere(call, asked), format);
}

/** Any shard can do it: those that are down are passed over. Errors: those of the definition. */
async function drawSomewhere(
  { state, namespace }: AdminCall,
  asked: Extract<RunAsk, { readonly ask: "draw" }>,
): Promise<string> {
  let refusal: unknown;
  for (const shard of shardsOf(state)) {
    try {
      return (await askRuns<"draw">(state, shard, namespace, asked)).text;
    } catch (thrown) {
      refusal = thrown;
      if (!isAway(thrown)) throw thrown;
    }
  }
  throw refusal;
}

function inputOf(query: URLSearchParams): unknown {
  const given = query.get("input");
  if (given === null) return undefined;
  try {
    return JSON.parse(given) as unknown;
  } catch {
    throw invalid(`input=${JSON.stringify(given.slice(0, 60))}`, "JSON");
  }
}

function graphResponse(drawn: string, format: GraphFormat): Response {
  const headers = { "content-type": GRAPH_TYPES[format], "cache-control": "no-store" };
  return new Response(drawn.endsWith("\n") ? drawn : `${drawn}\n`, { headers });
}

function formatOf(query: URLSearchParams): GraphFormat {
  const given = query.get("format") ?? "json";
  const format = GRAPH_FORMATS.find((one) => one === given);
  if (format) return format;
  throw invalid(`format=${JSON.stringify(given.slice(0, 60))}`, GRAPH_FORMATS.join(", "));
}

/** From a step the run itself goes on; without one there is another run, with the same input. */
async function restartRun(call: AdminCall): Promise<Answered> {
  const { state, namespace } = call;
  const run = call.param("run");
  const fields = { from: optional(text(1, STEP_MAX_CHARACTERS)), version: versionsField() };
  const { from, version } = await readFields(call, fields, "restart a run");
  const shown = await askRun<"show">(state, namespace, { ask: "show", run });
  if (shown.endedAtMs === undefined) {
    throw new IsolaError("RUN_STATE", {
      attempted: `restart the run ${run}`,
      found: `the status ${shown.status}`,
      required: "a run that has ended",
      fix: "Terminate it first, or wait for its end.",
    });
  }
  if (from === undefined) {
    if (version !== undefined && version !== "latest") throw versionsWithoutStep();
    const target = await targetOf(call, shown.workflow, "latest");
    const id = newJobId(shardOfRun(state, run), state.random);
    return startAgain(call, { ask: "startAgain", run, id, target, isReplay: false });
  }
  const pins = version === undefined ? undefined : await pinsOf(call, shown.pins, version);
  const info = await tell(call, {
    type: "restart",
    ...(from !== RESTART_FAILED && { from }),
    ...(pins && { pins }),
  });
  return { info };
}

async function startAgain(call: AdminCall, asked: StartAgain): Promise<Answered> {
  const { state, namespace } = call;
  const { isNew, ...info } = await askRun<"startAgain">(state, namespace, asked);
  return { status: isNew ? 201 : 200, info };
}

/** A dead letter, once more. Its id says which run and key it is of: a repeat finds the same. */
async function replayRun(call: AdminCall): Promise<Answered> {
  const { state, namespace } = call;
  const run = call.param("run");
  const fields = {
    key: optional(text(1, RUN_ADMIN_LIMITS.replayKeyMaxCharacters)),
    version: optional(integer(1, VERSION_MAX)),
  };
  const { key = "", version } = await readFields(call, fields, "replay a run");
  const { workflow } = await askRun<"show">(state, namespace, { ask: "show", run });
  const target = await targetOf(call, workflow, version ?? "latest");
  const said = new TextEncoder().encode(`replay\n${run}\n${key}`);
  const digest = toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", said)));
  const id = `${String(shardOfRun(state, run))}-${digest.slice(0, RUN_HEX_DIGITS)}`;
  return startAgain(call, { ask: "startAgain", run, id, target, isReplay: true });
}

function versionsWithoutStep(): IsolaError {
  return new IsolaError("REQUEST_INVALID", {
    attempted: "restart a run from its beginning",
    found: "versions of functions",
    required: "from, or no version: a new run has the versions of now",
  });
}

/** Whatever JSON holds; a field that is there. */
const anything: Field<unknown> = {
  required: "a JSON value",
  isOptional: false,
  parse: (value) => value,
};

async function signalRun(call: AdminCall): Promise<RunInfo> {
  const fields = {
    type: text(1, EVENT_TYPE_MAX_CHARACTERS),
    payload: optional(anything),
    id: optional(text(1, RUN_ADMIN_LIMITS.eventIdMaxCharacters)),
  };
  const { type: name, payload, id } = await readFields(call, fields, "send an event to a run");
  const { random } = call.state;
  return tell(call, {
    type: "signal",
    id: id ?? toHex(random.bytes(16)),
    name,
    payload,
  });
}

function invalid(found: string, required: string): IsolaError {
  return new IsolaError("REQUEST_INVALID", { attempted: "read the query", found, required });
}
