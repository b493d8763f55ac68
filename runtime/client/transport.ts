/** Requests to the admin API; failures come back as errors of the catalogue. */
import {
  type ErrorCode,
  type ErrorParts,
  ERRORS,
  IsolaError,
  isErrorCode,
  parseErrorData,
} from "../contract/index.ts";

/** What the client needs of `fetch`; Node's and workerd's own will do. */
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export interface Transport {
  /** Origin, without a slash at the end. */
  readonly url: string;
  readonly token: string | undefined;
  readonly fetch: Fetch;
}

/** A body that is sent as it comes. */
export type BodyStream = NonNullable<Response["body"]>;

export interface AdminRequest {
  /** For messages: what fails if this fails, as "deploy function hello". */
  readonly attempted: string;
  readonly method?: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly json?: unknown;
  readonly form?: FormData;
  /** Octets; their type stands in `headers`. */
  readonly body?: BodyStream | Uint8Array<ArrayBuffer> | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A request whose success is a 2xx.
 *
 * @throws IsolaError with the server's code, or `UNREACHABLE`.
 */
export async function send(transport: Transport, request: AdminRequest): Promise<Response> {
  const url = transport.url + request.path + queryText(request.query ?? {});
  const headers = new Headers({ ...request.headers });
  if (transport.token !== undefined) headers.set("authorization", `Bearer ${transport.token}`);
  let body = request.form ?? request.body;
  if (request.json !== undefined) {
    headers.set("content-type", "application/json");
    body = JSON.stringify(request.json);
  }
  const init: RequestInit & { duplex?: "half" } = {
    method: request.method ?? "GET",
    headers,
    redirect: "manual",
  };
  if (body !== undefined) init.body = body;
  if (body instanceof ReadableStream) init.duplex = "half";
  if (request.signal) init.signal = request.signal;
  const response = await reach(transport.fetch, url, init, request.attempted);
  if (response.ok) return response;
  throw await errorOf(response, request.attempted, transport.url);
}

/** `fetch` whose failure to connect is `UNREACHABLE`; an abort stays what it is. */
export async function reach(
  fetch: Fetch,
  url: string,
  init: RequestInit,
  attempted: string,
): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const { origin } = new URL(url);
    const found = `no answer from ${origin} (${reasonOf(error)})`;
    throw new IsolaError(
      "UNREACHABLE",
      { attempted, found, required: "a running platform at that address" },
      { cause: error },
    );
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const inner = cause instanceof Error ? cause : error;
  const code = (inner as { readonly code?: unknown }).code;
  return typeof code === "string" ? code : inner.message;
}

function queryText(query: Readonly<Record<string, string | number | undefined>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value));
  }
  return search.size === 0 ? "" : `?${search.toString()}`;
}

/** The error that a response carries. */
export async function errorOf(
  response: Response,
  attempted: string,
  origin: string,
): Promise<IsolaError> {
  const body = parseObject(await response.text().catch(() => ""));
  const inner = isFields(body?.["error"]) ? body["error"] : (body ?? {});
  const data = parseErrorData(inner);
  if (data) return IsolaError.fromData(data);
  const code = inner["code"] ?? response.headers.get("x-isola-error");
  if (isErrorCode(code)) return new IsolaError(code, partsOf(inner, attempted, code));
  const kind = response.headers.get("content-type") ?? "no content type";
  return new IsolaError("UNREACHABLE", {
    attempted,
    found: `HTTP ${String(response.status)} (${kind}) from ${origin}`,
    required: "an answer of Isola's admin API",
    fix: "pass the admin address with --url or ISOLA_URL",
  });
}

type Fields = Readonly<Record<string, unknown>>;

/** The parts that stand beside code and message; where there are none, the message is one. */
function partsOf(inner: Fields, attempted: string, code: ErrorCode): ErrorParts {
  const text = (name: string): string | undefined => {
    const value = inner[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const found = text("found");
  const [required, fix] = [text("required"), text("fix")];
  const location = inner["location"];
  return {
    attempted: text("attempted") ?? attempted,
    found: found ?? text("message") ?? ERRORS[code].meaning,
    ...(required === undefined ? {} : { required }),
    ...(fix === undefined ? {} : { fix }),
    ...(isFields(location) ? { location: location as ErrorParts["location"] & object } : {}),
  };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
