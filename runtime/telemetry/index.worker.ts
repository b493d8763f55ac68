/** What telemetry needs of workerd. */
export { streamLogs } from "./log-stream.worker.ts";
export { createOtlpSender } from "./otlp-sender.worker.ts";
