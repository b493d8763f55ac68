/** Runs, as the gateway asks for them on the cell's call socket (contract/run-call.ts). */
import {
  ERRORS,
  type InstanceAsk,
  IsolaError,
  RUN_BODY_MAX_BYTES,
  type RunAdminQuestion,
  type RunAsk,
  type RunFound,
  type RunInputHead,
  type RunQuestion,
  type RunReading,
  type RunReply,
  type RunStart,
  type RunTold,
  type ShardActor,
  type StoreRequest,
  frame,
  unframe,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import { pack, unpack } from "../message-pack.ts";
import { storageFault } from "../shard/storage-fault.ts";
import { isJson, readInput, readJson } from "../shim/input.worker.ts";
import { type ResultParts, partsOf } from "../shim/output.worker.ts";
import { decodeValue, encodeValue } from "../value-codec.ts";

/** What the shim's codec asks of the cell, in the cell itself. */
const codec = {
  unpack: async (octets: Uint8Array, form: "value" | "msgpack"): Promise<unknown> => {
    try {
      return unpack(octets, form);
    } catch (thrown) {
      throw new IsolaError("INPUT_MALFORMED", {
        attempted: "read the body as MessagePack",
        found: thrown instanceof Error ? thrown.message : String(thrown),
        required: "MessagePack, as its content type says",
      });
    }
  },
  pack: async (value: unknown, form: "value" | "msgpack"): Promise<Uint8Array<ArrayBuffer>> =>
    pack(value, form),
};

const OPERATIONS: ReadonlySet<string> = new Set(["startRun", "findRun", "askRuns", "askInstance"]);

export function isRunQuestion(
  asked: StoreRequest | RunQuestion | RunAdminQuestion,
): asked is RunQuestion | RunAdminQuestion {
  return OPERATIONS.has(asked.call.op);
}

/** Never throws; a refusal is `ErrorData` under the status of its code. */
export async function handleRun(
  cell: Cell,
  request: Request,
  { shard, call }: RunQuestion | RunAdminQuestion,
): Promise<Response> {
  try {
    const { shards, slot } = cell.bindings;
    if (!shards.own.includes(shard)) throw notHere(shard, slot);
    const actor = shards.actor(shard);
    if (call.op === "askRuns") {
      const answered = await actor.askRuns(call.namespace, await request.json<RunAsk>());
      if (!answered.ok) throw IsolaError.fromData(answered.error);
      return Response.json(answered.value);
    }
    if (call.op === "askInstance") return await instance(actor, request, call.namespace);
    if (call.op === "findRun")
      return await tell(await actor.findRun(call.id, call.waitMs ?? 0), call);
    const { head, body } = unframe(new Uint8Array(await request.arrayBuffer()));
    if (body.byteLength > RUN_BODY_MAX_BYTES) throw tooLarge(body.byteLength);
    const start = head as RunStart;
    const { workflow, byFunction } = start;
    if (byFunction) return await tell(await actor.startRun(start, decodeValue(body)), {});
    if (!workflow) return await tell(await actor.startRun(start, body), {});
    const isFromFunction = workflow.isFromFunction === true;
    const octets = body as Uint8Array<ArrayBuffer>;
    const input = await inputOf(start.request, octets, isFromFunction);
    return await tell(await actor.startRun(start, input), workflow);
  } catch (thrown) {
    const error = storageFault(thrown, "use a run");
    return Response.json(error.toData(), { status: ERRORS[error.code].status });
  }
}

/** @param namespace as the gateway vouches for it. */
async function instance(actor: ShardActor, request: Request, namespace: string): Promise<Response> {
  const told = decodeValue(new Uint8Array(await request.arrayBuffer()));
  const { ask, value } = told as { readonly ask: InstanceAsk; readonly value: unknown };
  const reply = await actor.instance({ ...ask, namespace }, value);
  return new Response(encodeValue(reply));
}

/** A request to a workflow as the value that a data function would get. */
async function inputOf(
  { method, url, headers }: RunInputHead,
  body: Uint8Array<ArrayBuffer>,
  isFromFunction: boolean,
): Promise<unknown> {
  const { pathname } = new URL(url);
  if (pathname !== "/" && !isFromFunction) {
    throw new IsolaError("ROUTE_NOT_FOUND", {
      attempted: "call a workflow",
      found: `the path ${pathname} behind its name`,
      required: "no path",
    });
  }
  const type = headers.find(([name]) => name === "content-type")?.[1] ?? "";
  // Most inputs are JSON, and a request around them would cost a twentieth of a short run.
  if (method === "POST" && isJson(type)) return readJson(body);
  const hasBody = method !== "GET" && method !== "HEAD" && body.byteLength > 0;
  const asked = new Request(url, {
    method,
    headers: headers.map(([name, value]): [string, string] => [name, value]),
    ...(hasBody && { body }),
  });
  return readInput(asked, isFromFunction, codec);
}

async function tell(reply: RunReply, reading: RunReading): Promise<Response> {
  if (!reply.ok) throw IsolaError.fromData(reply.error);
  const { found, body } = await written(reply.value, reading);
  return new Response(frame(found, body));
}

/** A result in the form that its reader accepts, as of a data function. */
export async function written(
  { result, body = new Uint8Array(0), ...found }: RunTold,
  { accept = "", isFromFunction = false }: RunReading,
): Promise<{ readonly found: RunFound; readonly body: Uint8Array }> {
  if (!result) return { found, body };
  const { status, type, body: text } = await partsOf(result.value, accept, isFromFunction, codec);
  const output = { status, headers: type === undefined ? [] : [["content-type", type] as const] };
  return { found: { ...found, output }, body: octetsOf(text) };
}

function octetsOf(body: ResultParts["body"]): Uint8Array {
  if (body === null) return new Uint8Array(0);
  return typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body);
}

function notHere(shard: number, slot: number): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: `ask shard ${String(shard)} for a run`,
    found: `cell ${String(slot)}, which does not hold it`,
    retryAfterSeconds: 1,
  });
}

function tooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "start a run",
    found: `a body of ${String(sizeBytes)} bytes`,
    required: `at most ${String(RUN_BODY_MAX_BYTES)} bytes`,
  });
}
