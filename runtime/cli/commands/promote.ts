import { type Command, integer, required } from "../command.ts";
import { shares } from "../render/text.ts";

export const promoteCommand: Command = {
  name: "promote",
  summary: "give a version all calls, or a share of them",
  arguments: "<function> <version>",
  async run(context, name, version) {
    const target = integer(required(version, "version"), "version");
    const percent = context.option("traffic") ?? 100;
    const work = context.client().promote(required(name, "function"), target, percent);
    const detail = await context.progress("promoting", work);
    context.show(detail, () => `${detail.name}: ${shares(detail.traffic)}`);
  },
};
