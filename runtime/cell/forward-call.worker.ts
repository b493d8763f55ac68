/**
 * A call between functions that must not run in this cell (a suspect, another backend): the
 * gateway places it. Values travel as MessagePack; the callee answers as an HTTP function would.
 */
import {
  type CallEnvelope,
  IsolaError,
  type RouteTarget,
  type ScopeCallResult,
  parseErrorData,
} from "../contract/index.ts";
import { Packr } from "msgpackr";
import type { Cell } from "./cell.worker.ts";
import type { SubCallRequest } from "./sub-call-request.ts";

const packr = new Packr({ useRecords: false, moreTypes: true, structuredClone: true });

export async function forwardCall(
  cell: Cell,
  envelope: CallEnvelope,
  target: RouteTarget,
  request: SubCallRequest,
): Promise<ScopeCallResult> {
  const isData = target.form === "data" || target.form === "rpc";
  const path = `/${encodeURIComponent(request.options.method ?? "")}`;
  const response = await cell.supply.forward(path, {
    method: "POST",
    body: isData ? new Uint8Array(packr.pack(request.input)) : jsonBody(request.input),
    cf: envelope as unknown as CfProperties,
    headers: {
      "content-type": isData ? "application/msgpack" : "application/json",
      accept: "application/msgpack, application/json",
    },
  });
  if (response.ok) return { ok: true, value: await readValue(response) };
  const body = (await response.json().catch(() => undefined)) as { error?: unknown } | undefined;
  const data = parseErrorData(body?.error);
  if (data) return { ok: false, error: data };
  throw new IsolaError("FUNCTION_ERROR", {
    attempted: `call ${request.name}`,
    found: `status ${response.status}`,
  });
}

function jsonBody(input: unknown): string | null {
  return input === undefined ? null : JSON.stringify(input);
}

async function readValue(response: Response): Promise<unknown> {
  if (response.status === 204) return undefined;
  const type = response.headers.get("content-type") ?? "";
  if (type.includes("msgpack")) return packr.unpack(new Uint8Array(await response.arrayBuffer()));
  if (type.includes("json")) return response.json();
  if (type.startsWith("text/")) return response.text();
  return new Uint8Array(await response.arrayBuffer());
}
