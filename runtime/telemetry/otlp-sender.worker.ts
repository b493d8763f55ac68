/** Sends export requests from workerd; the exporter decides what and when. */
import type { Clock } from "../contract/index.ts";
import type { ExportAnswer } from "./otlp-exporter.ts";
import { parseOtlpHeaders, parseRetryAfter } from "./otlp.ts";

export interface OtlpSenderOptions {
  /** The network that reaches the collector. */
  readonly network: Fetcher;
  /** OTEL_EXPORTER_OTLP_ENDPOINT: without `/v1/traces`. */
  readonly endpoint: string;
  /** OTEL_EXPORTER_OTLP_HEADERS. */
  readonly headers: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** What a partial success says fits in this; the rest of an answer is not read. */
const ANSWER_MAX_BYTES = 16 * 1024;

/** A `send` for `createOtlpExporter`. Call it within a request: workerd sends nothing outside. */
export function createOtlpSender(
  options: OtlpSenderOptions,
): (body: string) => Promise<ExportAnswer> {
  const url = `${options.endpoint.replace(/\/+$/, "")}/v1/traces`;
  const headers = new Headers(parseOtlpHeaders(options.headers));
  headers.set("content-type", "application/json");
  return async (body) => {
    const response = await options.network.fetch(url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(options.timeoutMs),
    });
    const retryAfterSeconds = parseRetryAfter(
      response.headers.get("retry-after"),
      options.clock.now(),
    );
    return {
      status: response.status,
      body: await textOf(response),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    };
  };
}

async function textOf(response: Response): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > ANSWER_MAX_BYTES) break;
  }
  return text;
}
