/**
 * A call between functions that must not run in this cell (a suspect, another backend): the
 * gateway places it. Values travel as MessagePack of their own kind, which keeps what V8 keeps.
 */
import {
  type CallEnvelope,
  IsolaError,
  type RouteTarget,
  type ScopeCallResult,
  VALUE_TYPE,
  packEnvelope,
  parseErrorData,
} from "../contract/index.ts";
import type { Cell } from "./cell.worker.ts";
import type { SubCallRequest } from "./sub-call-request.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";

export async function forwardCall(
  cell: Cell,
  envelope: CallEnvelope,
  target: RouteTarget,
  request: SubCallRequest,
): Promise<ScopeCallResult> {
  const { method } = request.options;
  const isData = target.form === "data" || target.form === "rpc" || method !== undefined;
  const path = `/${encodeURIComponent(method ?? "")}`;
  const response = await cell.supply.forward(path, {
    method: "POST",
    body: isData ? encodeValue(request.input) : jsonBody(request.input),
    cf: packEnvelope(envelope) as unknown as CfProperties,
    headers: {
      "content-type": isData ? VALUE_TYPE : "application/json",
      traceparent: envelope.tp,
      ...(isData ? { accept: VALUE_TYPE } : {}),
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

/** The value of an answer, by its content type. */
export async function readValue(response: Response): Promise<unknown> {
  if (response.status === 204) return undefined;
  const type = response.headers.get("content-type") ?? "";
  if (type === VALUE_TYPE) return decodeValue(new Uint8Array(await response.arrayBuffer()));
  if (type.includes("json")) return response.json();
  if (type.startsWith("text/")) return response.text();
  return new Uint8Array(await response.arrayBuffer());
}
