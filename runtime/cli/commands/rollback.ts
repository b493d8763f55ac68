import { type Command, integer, required } from "../command.ts";
import { shares } from "../render/text.ts";

export const rollbackCommand: Command = {
  name: "rollback",
  summary: "go back to a version, or to the one before the present one",
  arguments: "<function> [version]",
  async run(context, name, version) {
    const target = version === undefined ? undefined : integer(version, "version");
    const work = context.client().rollback(required(name, "function"), target);
    const detail = await context.progress("rolling back", work);
    context.show(detail, () => `${detail.name}: ${shares(detail.traffic)}`);
  },
};
