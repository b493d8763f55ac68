/** What telemetry needs of workerd. */
export { streamLogs, type LogStreamQuery } from "./log-stream.worker.ts";
export { createOtlpSender, type OtlpSenderOptions } from "./otlp-sender.worker.ts";
