import type { Command } from "../command.ts";
import { age, fields } from "../render/text.ts";
import { cellsTable } from "./cells.ts";

export const statusCommand: Command = {
  name: "status",
  summary: "show whether the platform runs, and what it does",
  async run(context) {
    const client = context.client();
    const status = await client.status();
    const publicUrl = await client.publicUrl().catch(() => undefined);
    context.show({ ...status, adminUrl: client.url, publicUrl }, () =>
      [
        fields([
          ["version", status.version],
          ["form", status.form],
          ["public", publicUrl],
          ["admin", client.url],
          ["started", age(status.startedAtMs)],
          ["namespaces", status.namespaces],
          ["functions", status.functions],
          ["in flight", status.inFlight],
          ["queued", status.queued],
        ]),
        "",
        cellsTable(status.cells),
      ].join("\n"),
    );
  },
};
