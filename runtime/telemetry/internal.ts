/** What tests of this room reach besides its surface. */
export { FunctionSeries, PlatformSeries } from "./call-series.ts";
export { formatConsole } from "./console-format.ts";
export { FunctionTable } from "./function-table.ts";
export { renderMetrics } from "./metrics-text.ts";
export { Ring } from "./ring.ts";
export { SpanRing } from "./spans.ts";
export { checkBatch } from "./telemetry-batch.ts";
export { cutText, utf8Bytes } from "./text.ts";
