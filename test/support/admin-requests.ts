/** Requests to the admin API as they are on the wire, for tests that check exactly that. */
import { ADMIN_TOKEN, type GatewayProcess } from "./gateway-process.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined if it is none. */
  readonly body: Record<string, unknown> | undefined;
  /** Code of the error, if it is one. */
  readonly code: string | undefined;
}

export interface Ask {
  /** @default the operator's; null: none */
  readonly token?: string | null;
  readonly json?: unknown;
  readonly body?: string | Uint8Array<ArrayBuffer> | FormData;
  readonly headers?: Record<string, string>;
}

export async function ask(
  gateway: GatewayProcess,
  method: string,
  path: string,
  options: Ask = {},
): Promise<Answer> {
  const { token = ADMIN_TOKEN, json, body } = options;
  const headers = new Headers(options.headers);
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  if (json !== undefined) headers.set("content-type", "application/json");
  const sent = json === undefined ? body : JSON.stringify(json);
  const init = { method, headers, ...(sent === undefined ? {} : { body: sent }) };
  const response = await fetch(gateway.adminUrl + path, init);
  return answerOf(response.status, response.headers, await response.text());
}

export function answerOf(status: number, headers: Headers, text: string): Answer {
  let body: Record<string, unknown> | undefined;
  try {
    body = JSON.parse(text) as Record<string, unknown>;
  } catch {
    body = undefined;
  }
  const error = body?.["error"] as { readonly code?: string } | undefined;
  return { status, headers, text, body, code: error?.code };
}

/** What a listing lists; fails for what is none. */
export function itemsOf(answer: Answer): Record<string, unknown>[] {
  const items = answer.body?.["items"];
  if (!Array.isArray(items)) throw new TypeError(`no listing: ${answer.text}`);
  return items as Record<string, unknown>[];
}

export interface Module {
  readonly name: string;
  readonly content: string | Uint8Array<ArrayBuffer>;
  /** @default JavaScript */
  readonly type?: string;
}

export function deployForm(metadata: unknown, modules: readonly Module[]): FormData {
  const form = new FormData();
  form.append("metadata", new Blob([JSON.stringify(metadata)], { type: "application/json" }));
  for (const { name, content, type = "application/javascript+module" } of modules) {
    form.append(name, new Blob([content], { type }), name);
  }
  return form;
}

/** Deploys one module of plain JavaScript. */
export async function deploy(
  gateway: GatewayProcess,
  name: string,
  code: string,
  options: { namespace?: string; metadata?: object; query?: string; token?: string } = {},
): Promise<Answer> {
  const { namespace = "default", metadata = {}, query = "", token } = options;
  const form = deployForm({ main: "main.js", ...metadata }, [{ name: "main.js", content: code }]);
  return ask(gateway, "PUT", `/v1/namespaces/${namespace}/functions/${name}${query}`, {
    body: form,
    ...(token === undefined ? {} : { token }),
  });
}

/** Calls a function on the public listener. */
export async function call(gateway: GatewayProcess, name: string): Promise<Answer> {
  const response = await fetch(`${gateway.publicUrl}/function/${name}`);
  return answerOf(response.status, response.headers, await response.text());
}

export const NS = "/v1/namespaces/default";
