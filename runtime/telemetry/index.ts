/** Records, logs, spans, usage and metrics of calls; the exporters; the console's formatter. */
export { TELEMETRY_LIMITS, type TelemetryLimits } from "./limits.ts";
export type {
  Absorbed,
  CallQuery,
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
