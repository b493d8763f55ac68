/** Records, logs, spans, usage and metrics of calls; the exporter; the console's formatter. */
export { createConsole, formatConsole } from "./console-format.ts";
export { createTelemetryHub } from "./create-telemetry-hub.ts";
export { TELEMETRY_LIMITS } from "./limits.ts";
export { createOtlpExporter, type OtlpExporter } from "./otlp-exporter.ts";
export type { StoreReport } from "./store-ledger.ts";
export type { MetricsGauges, TelemetryHub } from "./telemetry-hub.ts";
export { NAMESPACE_ATTRIBUTE, spanOfCall } from "./spans.ts";
