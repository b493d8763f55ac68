import type { LogLine } from "../../contract/index.ts";
import type { Command, CommandContext } from "../command.ts";
import { logText } from "../render/log-lines.ts";

export const logsCommand: Command = {
  name: "logs",
  aliases: ["tail"],
  summary: "print the console lines of a function, or of all",
  arguments: "[function]",
  async run(context, name) {
    const agoMs = context.option("since");
    const query = {
      function: name,
      sinceMs: agoMs === undefined ? undefined : Date.now() - agoMs,
    };
    const client = context.client();
    if (!context.option("follow")) {
      for (const line of await client.logs(query)) printLine(context, line);
      return;
    }
    const signal = context.untilInterrupted();
    for await (const line of client.followLogs({ ...query, signal })) printLine(context, line);
  },
};

/** With --json one object a line, so that it can be followed, too. */
function printLine(context: CommandContext, line: LogLine): void {
  context.print(context.wantsJson ? JSON.stringify(line) : logText(line));
}
