/** What the coordinator is given to begin a run with. */
import {
  IsolaError,
  type RunStart,
  type RunPin,
  type WorkflowStart,
} from "../../contract/index.ts";
import type { Held, RunRequest, StartRequest } from "../../../workflow/index.ts";

/** Node of the one step that an asynchronous call is. */
const NODE = "call";

export function startRequest(start: RunStart, input: Held): StartRequest {
  const { workflow, byFunction } = start;
  if (workflow) return workflowRequest(start, workflow, input);
  return byFunction ? valueRequest(start, input) : callRequest(start, input);
}

/** A run of one step, whose input is a value: what a function starts. */
function valueRequest(start: RunStart, input: Held): StartRequest {
  return { ...callRequest(start, input), version: start.version };
}

/** A run of one step: the request as it came is its input. */
function callRequest(start: RunStart, input: Held): StartRequest {
  const { function: name, version, retry } = start;
  const apply = { op: "apply" as const, function: name };
  return {
    ...common(start),
    form: "dag",
    input,
    query: {},
    // The input may be held elsewhere; whoever makes an attempt wants the trace.
    headers: traceOf(start),
    planned: {
      plan: {
        format: 1,
        durability: "step",
        dag: { nodes: [{ id: NODE, kind: "chain", operations: [apply] }], edges: [] },
      },
      // The gateway bounds the attempt by the function's own timeout, from when it runs.
      pins: { [name]: { version, retry, timeoutMs: 0 } },
    },
  };
}

function workflowRequest(
  start: RunStart,
  { form, timeoutMs, chain }: WorkflowStart,
  input: Held,
): StartRequest {
  const { version, request } = start;
  return {
    ...common(start),
    form,
    version,
    input,
    query: queryOf(request.url),
    headers: Object.fromEntries(request.headers),
    ...(timeoutMs > 0 && { timeoutMs }),
    ...(chain.length > 0 && { chain }),
  };
}

/**
 * What another run was started with, for the function of now.
 *
 * @throws IsolaError `RUN_STATE` if it was a workflow and is none, or the other way round.
 */
export function requestAgain(request: RunRequest, run: string, target: RunPin): RunRequest {
  const {
    parent: _parent,
    chain: _chain,
    replayOf: _replayOf,
    timeoutMs: _bound,
    ...rest
  } = request;
  const { planned, workflow } = request;
  const { version, retry, timeoutMs, form } = target;
  if ((planned === undefined) !== (form !== undefined)) {
    throw new IsolaError("RUN_STATE", {
      attempted: `start the run ${run} again`,
      found: form ? `${workflow} is a workflow now` : `${workflow} is no workflow any more`,
      required: "a function of the kind that it was when the run began",
    });
  }
  if (planned || !form) {
    const pins = { [workflow]: { version, retry, timeoutMs: 0 } };
    // What a function started has a version of its own, what came over HTTP that of its pin.
    const own = rest.version === undefined ? {} : { version };
    return { ...rest, ...own, ...(planned && { planned: { plan: planned.plan, pins } }) };
  }
  return { ...rest, form, version, ...(timeoutMs > 0 && { timeoutMs }) };
}

function common({
  id,
  namespace,
  function: workflow,
  concurrency,
  retention,
  key,
  callback,
}: RunStart) {
  return {
    id,
    namespace,
    workflow,
    revision: 0,
    concurrency,
    retention,
    ...(key && { key }),
    ...(callback && { callback }),
  };
}

/** Of a name that stands twice, the first value. */
function queryOf(url: string): Record<string, string> {
  const at = url.indexOf("?");
  if (at === -1) return {};
  const fields = [...new URLSearchParams(url.slice(at + 1))].reverse();
  return Object.fromEntries(fields);
}

function traceOf({ request }: RunStart): Record<string, string> {
  const own = request.headers.filter(([name]) => name.toLowerCase() === "traceparent");
  return Object.fromEntries(own.map(([, value]) => ["traceparent", value]));
}
