import { bucketOf } from "../bucket-options.ts";
import type { Command } from "../command.ts";
import { fields } from "../render/text.ts";

export const doctorCommand: Command = {
  name: "doctor",
  summary: "say what this system has and lacks, what that disables, and what installs it",
  async run(context) {
    const { runDoctor } = await import("../../host/index.ts");
    const looking = runDoctor({ dataDir: context.dataDir, bucket: bucketOf(context) });
    const items = await context.progress("looking around", looking);
    context.show({ items }, () =>
      fields(
        items.map(({ name, ok, found, disables, fix }) => {
          const lack = [
            found,
            disables === undefined ? undefined : `disables: ${disables}`,
            fix === undefined ? undefined : `to get it: ${fix}`,
          ].filter((text) => text !== undefined);
          return [`${ok ? "+" : "-"} ${name}`, ok ? found : lack.join("; ")];
        }),
      ),
    );
  },
};
