/** Errors of the platform as HTTP, the same on every listener (INTERFACE §5). */
import { ERRORS, type IsolaError, PUBLIC_HEADERS } from "../contract/index.ts";

export interface ErrorAnswer {
  readonly callId?: string;
  readonly headers?: Headers | Record<string, string>;
  /** What the function threw; only for those who may see it. */
  readonly detail?: unknown;
}

export function errorResponse(error: IsolaError, answer: ErrorAnswer = {}): Response {
  const { status } = ERRORS[error.code];
  const { retryAfterSeconds = 1, ...parts } = error.parts;
  const headers = new Headers(answer.headers);
  headers.set("content-type", "application/json");
  headers.set("cache-control", "no-store");
  headers.set(PUBLIC_HEADERS.error, error.code);
  const mayRepeat = error.retryable && (status === 429 || status === 503 || status === 507);
  if (mayRepeat) headers.set("retry-after", String(Math.max(1, Math.ceil(retryAfterSeconds))));
  if (status === 405 && parts.required !== undefined && !headers.has("allow")) {
    headers.set("allow", parts.required);
  }
  if (status === 401) headers.set("www-authenticate", "Bearer");
  const body = {
    error: {
      code: error.code,
      message: error.message,
      retryable: error.retryable,
      ...(answer.callId === undefined ? {} : { callId: answer.callId }),
      ...parts,
      ...(answer.detail === undefined ? {} : { detail: answer.detail }),
    },
  };
  return new Response(`${JSON.stringify(body)}\n`, { status, headers });
}
