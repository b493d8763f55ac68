import { type Command, required } from "../command.ts";
import { age, bytes, fields, instant, milliseconds, shares } from "../render/text.ts";

export const describeCommand: Command = {
  name: "describe",
  summary: "show everything about a function",
  arguments: "<function>",
  async run(context, name) {
    const client = context.client();
    const detail = await client.describe(required(name, "function"));
    const publicUrl = await client.publicUrl().catch(() => undefined);
    const { config, usage } = detail;
    context.show(detail, () =>
      fields([
        ["name", detail.name],
        ["namespace", detail.namespace],
        ["version", detail.version],
        ["traffic", shares(detail.traffic)],
        ["form", detail.form],
        ["entry points", detail.entrypoints.join(", ") || "default"],
        ["state", detail.quarantined ? "quarantined (isola release lifts it)" : "live"],
        ["bundle", `${bytes(detail.bundleBytes)}, ${detail.bundleHash.slice(0, 16)}`],
        ["deployed", age(detail.deployedAtMs)],
        ["backend", config.backend],
        ["timeout", config.timeoutMs === 0 ? "none" : milliseconds(config.timeoutMs)],
        ["max block", milliseconds(config.maxBlockMs)],
        ["memory", `${String(config.memoryMb)} MB`],
        ["in flight", config.maxInFlight === 0 ? "no bound" : config.maxInFlight],
        ["runs at once", config.concurrency.limit === 0 ? "no bound" : config.concurrency.limit],
        ["reuse", config.reuse],
        ["auth", config.auth],
        ["egress", typeof config.egress === "string" ? config.egress : config.egress.join(", ")],
        ["env", Object.keys(config.env).join(", ") || "-"],
        ["secrets", config.secrets.join(", ") || "-"],
        [
          "calls",
          usage === null ? undefined : `${String(usage.calls)} (${String(usage.errors)} errors)`,
        ],
        ...detail.schedules.map(
          ({ schedule, timeZone, nextAtMs }) =>
            ["schedule", `${schedule} (${timeZone}), next ${instant(nextAtMs)}`] as const,
        ),
        ...detail.addresses.map(
          (address) =>
            [
              "address",
              address.startsWith("/") ? `${publicUrl ?? ""}${address}` : address,
            ] as const,
        ),
      ]),
    );
  },
};
