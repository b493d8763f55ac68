/**
 * Spans as OTLP/HTTP JSON (opentelemetry-proto 1.x, `ExportTraceServiceRequest`).
 *
 * `@opentelemetry/otlp-transformer` bundles to 7 KB and would run in workerd, but it takes the
 * SDK's `ReadableSpan` with its clock pairs, resource and scope objects: turning our spans into
 * those is as long as writing the JSON, and it brings seven packages (19 MB) of the SDK along.
 */
import type { Span } from "../contract/index.ts";

type AttributeValue = string | number | boolean;

/** What names the sender, once per request. */
export interface OtlpResource {
  readonly serviceName: string;
  readonly serviceVersion: string;
}

const KINDS: Readonly<Record<Span["kind"], number>> = { internal: 1, server: 2, client: 3 };
const STATUS_ERROR = 2;

/** Body of one export request. */
export function encodeSpans(spans: readonly Span[], resource: OtlpResource): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: {
          attributes: attributesOf({
            "service.name": resource.serviceName,
            "service.version": resource.serviceVersion,
          }),
        },
        scopeSpans: [
          {
            scope: { name: "isola", version: resource.serviceVersion },
            spans: spans.map(encodeSpan),
          },
        ],
      },
    ],
  });
}

function encodeSpan(span: Span): unknown {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId === undefined ? {} : { parentSpanId: span.parentSpanId }),
    name: span.name,
    kind: KINDS[span.kind],
    startTimeUnixNano: nanosOf(span.startedAtMs),
    endTimeUnixNano: nanosOf(span.endedAtMs),
    attributes: attributesOf(span.attributes),
    status: span.error === undefined ? {} : { code: STATUS_ERROR, message: span.error },
  };
}

function attributesOf(attributes: Readonly<Record<string, AttributeValue>>): unknown[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: valueOf(value) }));
}

/** 64-bit integers are strings in the JSON form of protocol buffers. */
function valueOf(value: AttributeValue): unknown {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

/** Nanoseconds since the epoch exceed 2^53, so they are put together as text. */
function nanosOf(atMs: number): string {
  const wholeMs = Math.floor(atMs);
  const restNanos = Math.floor((atMs - wholeMs) * 1e6);
  return `${wholeMs}${String(restNanos).padStart(6, "0")}`;
}

/** What a collector says of a request it took: spans it refused all the same. */
export function parsePartialSuccess(body: string): { rejectedSpans: number; message: string } {
  try {
    const answer = JSON.parse(body) as {
      partialSuccess?: { rejectedSpans?: unknown; errorMessage?: unknown } | null;
    } | null;
    const partial = answer?.partialSuccess;
    const rejected = Number(partial?.rejectedSpans ?? 0);
    return {
      rejectedSpans: Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0,
      message: typeof partial?.errorMessage === "string" ? partial.errorMessage : "",
    };
  } catch {
    // Protobuf, or nothing: the status already said that the request was taken.
    return { rejectedSpans: 0, message: "" };
  }
}

/** Seconds of a Retry-After header, which holds seconds or a date; undefined if neither. */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? undefined : Math.max(0, (atMs - nowMs) / 1_000);
}

/** OTEL_EXPORTER_OTLP_HEADERS: `name=value` pairs, comma-separated, percent-encoded. */
export function parseOtlpHeaders(text: string): [string, string][] {
  return text.split(",").flatMap((pair): [string, string][] => {
    const equals = pair.indexOf("=");
    const name = pair.slice(0, Math.max(0, equals)).trim().toLowerCase();
    if (name === "") return [];
    const value = pair.slice(equals + 1).trim();
    try {
      return [[name, decodeURIComponent(value)]];
    } catch {
      return [[name, value]];
    }
  });
}
