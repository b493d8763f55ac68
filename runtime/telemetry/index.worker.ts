/** What telemetry needs of workerd. */
export { createOtlpSender, type OtlpSenderOptions } from "./otlp-sender.worker.ts";
