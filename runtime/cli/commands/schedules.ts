import type { Command } from "../command.ts";
import { age, instant, table } from "../render/text.ts";

export const schedulesCommand: Command = {
  name: "schedules",
  summary: "list the schedules of functions, with the next tick of each",
  async run(context) {
    const items = await context.client().schedules();
    context.show({ items }, () =>
      table(
        items,
        [
          { title: "function", value: (row) => row.function },
          { title: "schedule", value: ({ schedule }) => schedule },
          { title: "time zone", value: ({ timeZone }) => timeZone },
          { title: "next", value: ({ nextAtMs }) => instant(nextAtMs) },
          { title: "last", value: ({ lastAtMs }) => (lastAtMs === null ? "-" : age(lastAtMs)) },
          { title: "run", value: ({ lastRun, lastError }) => lastRun ?? lastError ?? "-" },
        ],
        "no schedules",
      ),
    );
  },
};
