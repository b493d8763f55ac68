/** One route of the admin API: what it needs, and the answer's form. */
import type { Role } from "../contract/index.ts";
import type { Principal } from "./authority.worker.ts";
import { readJson } from "./request-body.ts";
import { type Fields, type Parsed, parseFields } from "./request-fields.ts";
import type { Background, GatewayState } from "./state.worker.ts";

export interface AdminCall {
  readonly state: GatewayState;
  readonly request: Request;
  readonly query: URLSearchParams;
  readonly background: Background;
  readonly principal: Principal;
  /** Of the path; empty for routes outside of any. */
  readonly namespace: string;
  /** A parameter of the path, decoded. */
  param(name: string): string;
}

export interface AdminRoute {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below `/v1`, or below `/v1/namespaces/:namespace` for namespace routes. */
  readonly path: string;
  /** `operator`: the operator's token alone. `any`: every token. */
  readonly needs: Role | "operator" | "any";
  handle(call: AdminCall): Promise<Response>;
}

export function json(value: unknown, status = 200): Response {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  return new Response(`${JSON.stringify(value)}\n`, { status, headers });
}

export function items(list: readonly unknown[]): Response {
  return json({ items: list });
}

export function noContent(): Response {
  return new Response(null, { status: 204 });
}

/** A JSON body of known fields. Errors: `REQUEST_INVALID`, those of `readJson`. */
export async function readFields<F extends Fields>(
  { request }: AdminCall,
  fields: F,
  attempted: string,
): Promise<Parsed<F>> {
  return parseFields(await readJson(request, attempted), fields, attempted);
}
