/** Records, logs, spans, usage and metrics of calls; the exporters; the console's formatter. */
export { createConsole, formatConsole, type TenantConsole } from "./console-format.ts";
export { createTelemetryHub } from "./create-telemetry-hub.ts";
export { TELEMETRY_LIMITS, type TelemetryLimits } from "./limits.ts";
export {
  createOtlpExporter,
  type ExportAnswer,
  type OtlpExporter,
  type OtlpExporterOptions,
} from "./otlp-exporter.ts";
export {
  encodeSpans,
  parseOtlpHeaders,
  parsePartialSuccess,
  parseRetryAfter,
  type OtlpResource,
} from "./otlp.ts";
export {
  CALL_ATTRIBUTE,
  NAMESPACE_ATTRIBUTE,
  callTraceOf,
  spanOfCall,
  type CallTrace,
} from "./spans.ts";
export type {
  Absorbed,
  CallQuery,
  ExportStats,
  LogAnswer,
  LogFilter,
  LogQuery,
  MetricsGauges,
  SpanSource,
  TelemetryHub,
  TelemetryHubOptions,
  TraceQuery,
  UsageDelta,
} from "./telemetry-hub.ts";
