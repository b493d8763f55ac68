import { type Command, required } from "../command.ts";

export const releaseCommand: Command = {
  name: "release",
  summary: "lift a function's quarantine",
  arguments: "<function>",
  async run(context, name) {
    const released = required(name, "function");
    const detail = await context.client().release(released);
    context.show(detail, () => `released ${released}`);
  },
};
