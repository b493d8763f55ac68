import type { Command } from "../command.ts";
import { age, shares, table } from "../render/text.ts";

export const listCommand: Command = {
  name: "list",
  aliases: ["ls"],
  summary: "list the functions of a namespace",
  async run(context) {
    const items = await context.progress("listing functions", context.client().list());
    context.show({ items }, () =>
      table(
        items,
        [
          { title: "name", value: ({ name }) => name },
          { title: "version", value: ({ version }) => version, isNumber: true },
          { title: "form", value: ({ form }) => form },
          { title: "backend", value: ({ backend }) => backend },
          { title: "auth", value: ({ auth }) => auth },
          { title: "traffic", value: ({ traffic }) => shares(traffic) },
          { title: "state", value: ({ quarantined }) => (quarantined ? "quarantined" : "live") },
          { title: "deployed", value: ({ deployedAtMs }) => age(deployedAtMs) },
        ],
        `no functions in namespace ${context.option("namespace")}; isola deploy makes one`,
      ),
    );
  },
};
