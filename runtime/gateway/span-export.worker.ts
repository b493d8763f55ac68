/** Export of spans over OTLP, where the operator set an endpoint. */
import { systemClock, systemRandom } from "../contract/index.ts";
import {
  type OtlpExporter,
  type TelemetryHub,
  TELEMETRY_LIMITS,
  createOtlpExporter,
} from "../telemetry/index.ts";
import { createOtlpSender } from "../telemetry/index.worker.ts";
import type { GatewayBindings } from "./bindings.worker.ts";

/** Undefined where no endpoint is set: then spans cost no more than their place in a ring. */
export function createSpanExport(
  bindings: GatewayBindings,
  hub: TelemetryHub,
): OtlpExporter | undefined {
  const { settings, otlp } = bindings;
  if (!otlp || settings.otlpEndpoint === "") return undefined;
  const send = createOtlpSender({
    network: otlp,
    endpoint: settings.otlpEndpoint,
    headers: settings.otlpHeaders,
    timeoutMs: TELEMETRY_LIMITS.exportTimeoutMs,
    clock: systemClock,
  });
  return createOtlpExporter({
    source: hub.traces.source,
    send,
    resource: { serviceName: "isola", serviceVersion: settings.version },
    clock: systemClock,
    random: systemRandom,
    limits: TELEMETRY_LIMITS,
  });
}
