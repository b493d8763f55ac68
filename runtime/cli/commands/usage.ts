import { STORE_TIERS, type StoreUsageReport, type UsageRow } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { bytes, fields, milliseconds, table } from "../render/text.ts";

const BYTE_SECONDS_PER_GIB_HOUR = 1024 ** 3 * 3_600;

/** Bytes now, most at once, and the product of bytes and hours, by tier. */
function storeUsage(store: StoreUsageReport): string {
  const quota = store.quotaBytes === 0 ? "" : ` of ${bytes(store.quotaBytes)}`;
  const tiers = table(
    STORE_TIERS.map((tier) => ({ tier })),
    [
      { title: "store", value: ({ tier }) => tier },
      { title: "now", value: ({ tier }) => bytes(store.bytes[tier]), isNumber: true },
      { title: "most", value: ({ tier }) => bytes(store.highWaterBytes[tier]), isNumber: true },
      {
        title: "GiB-h",
        value: ({ tier }) => (store.byteSeconds[tier] / BYTE_SECONDS_PER_GIB_HOUR).toFixed(3),
        isNumber: true,
      },
    ],
    "",
  );
  const sums = fields([
    ["held", `${bytes(store.heldBytes)}${quota}, at most ${bytes(store.heldMaxBytes)}`],
    ["operations", store.operations],
    ["in, out", `${bytes(store.bytesIn)}, ${bytes(store.bytesOut)}`],
  ]);
  return `${tiers}\n${sums}`;
}

export const usageCommand: Command = {
  name: "usage",
  summary: "calls, time, GB-seconds and bytes of a namespace, and what it stores",
  async run(context) {
    const agoMs = context.option("since");
    const sinceMs = agoMs === undefined ? undefined : Date.now() - agoMs;
    const report = await context.client().usage({ sinceMs });
    const rows: UsageRow[] = [...report.functions, { ...report.total, function: "(all)" }];
    const callTable = (): string =>
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
      );
    context.show(report, () => `${callTable()}\n\n${storeUsage(report.store)}`);
  },
};
