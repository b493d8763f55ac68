import { type Command, required } from "../command.ts";

export const removeCommand: Command = {
  name: "remove",
  aliases: ["delete", "rm"],
  summary: "remove a function and all its versions",
  arguments: "<function>",
  async run(context, name) {
    const removed = required(name, "function");
    await context.progress(`removing ${removed}`, context.client().remove(removed));
    context.show({ removed }, () => `removed ${removed}`);
  },
};
