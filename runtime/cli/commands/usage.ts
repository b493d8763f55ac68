import type { UsageRow } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { bytes, milliseconds, table } from "../render/text.ts";

export const usageCommand: Command = {
  name: "usage",
  summary: "calls, time, GB-seconds and bytes of a namespace",
  async run(context) {
    const agoMs = context.option("since");
    const sinceMs = agoMs === undefined ? undefined : Date.now() - agoMs;
    const report = await context.client().usage({ sinceMs });
    const rows: UsageRow[] = [...report.functions, { ...report.total, function: "(all)" }];
    context.show(report, () =>
      table(
        rows,
        [
          { title: "function", value: (row) => row.function },
          { title: "calls", value: ({ calls }) => calls, isNumber: true },
          { title: "errors", value: ({ errors }) => errors, isNumber: true },
          { title: "cold", value: ({ coldStarts }) => coldStarts, isNumber: true },
          { title: "time", value: ({ wallMs }) => milliseconds(wallMs), isNumber: true },
          { title: "GB-s", value: ({ gbSeconds }) => gbSeconds.toFixed(3), isNumber: true },
          { title: "in", value: ({ bytesIn }) => bytes(bytesIn), isNumber: true },
          { title: "out", value: ({ bytesOut }) => bytes(bytesOut), isNumber: true },
        ],
        "no calls",
      ),
    );
  },
};
