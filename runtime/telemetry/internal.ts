/** What tests of this room reach besides its surface. */
export { FunctionTable } from "./function-table.ts";
export type { TelemetryLimits } from "./limits.ts";
export type { ExportAnswer } from "./otlp-exporter.ts";
export { encodeSpans, parseOtlpHeaders, parsePartialSuccess, parseRetryAfter } from "./otlp.ts";
export { Ring } from "./ring.ts";
export { checkBatch } from "./telemetry-batch.ts";
export { StoreLedger } from "./store-ledger.ts";
export { cutText, utf8Bytes } from "./text.ts";
