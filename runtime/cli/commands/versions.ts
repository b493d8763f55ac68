import { type Command, required } from "../command.ts";
import { age, bytes, table } from "../render/text.ts";

export const versionsCommand: Command = {
  name: "versions",
  summary: "list the versions of a function",
  arguments: "<function>",
  async run(context, name) {
    const items = await context.client().versions(required(name, "function"));
    context.show({ items }, () =>
      table(
        items,
        [
          { title: "version", value: ({ version }) => version, isNumber: true },
          { title: "traffic", value: ({ percent }) => `${String(percent)}%`, isNumber: true },
          { title: "form", value: ({ form }) => form },
          { title: "size", value: ({ bundleBytes }) => bytes(bundleBytes), isNumber: true },
          { title: "bundle", value: ({ bundleHash }) => bundleHash.slice(0, 16) },
          { title: "state", value: ({ quarantined }) => (quarantined ? "quarantined" : "ok") },
          { title: "created", value: ({ createdAtMs }) => age(createdAtMs) },
        ],
        "no versions",
      ),
    );
  },
};
