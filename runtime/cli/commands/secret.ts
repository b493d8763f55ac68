/**
 * Secrets are written, listed by name and removed. Of their values one alone is shown: the key that
 * receivers of callbacks check them by.
 */
import { IsolaError, LIMITS } from "../../contract/index.ts";
import { type Command, type CommandContext, required } from "../command.ts";
import { readAll } from "../io.ts";
import { promptHidden } from "../prompt.ts";
import { age, table } from "../render/text.ts";

export const secretCommands: readonly Command[] = [
  {
    name: "secret put",
    summary: "set a secret; the value is read from standard input or asked for",
    arguments: "<name>",
    async run(context, name) {
      const named = required(name, "name");
      const value = await readValue(context, named);
      const summary = await context.client().secrets.put(named, value);
      context.show(summary ?? { name: named }, () => `secret ${named} is set`);
    },
  },
  {
    name: "secret list",
    aliases: ["ls"],
    summary: "list the names of secrets",
    async run(context) {
      const items = await context.client().secrets.list();
      context.show({ items }, () =>
        table(
          items,
          [
            { title: "name", value: ({ name }) => name },
            { title: "generation", value: ({ generation }) => generation, isNumber: true },
            { title: "used by", value: ({ usedBy }) => usedBy.join(", ") || "-" },
            { title: "updated", value: ({ updatedAtMs }) => age(updatedAtMs) },
          ],
          "no secrets",
        ),
      );
    },
  },
  {
    name: "secret remove",
    aliases: ["delete", "rm"],
    summary: "remove a secret",
    arguments: "<name>",
    async run(context, name) {
      const removed = required(name, "name");
      await context.client().secrets.remove(removed);
      context.show({ removed }, () => `removed secret ${removed}`);
    },
  },
  {
    name: "secret callback-key",
    summary: "show the key that signs the callbacks of runs",
    async run(context) {
      const { key } = await context.client().callbackKey();
      context.show({ key }, () => key);
    },
  },
];

async function readValue(context: CommandContext, name: string): Promise<string> {
  const { stdin, stderr } = context.io;
  const value =
    stdin.isTTY === true
      ? await promptHidden(stdin, stderr, `value of ${name}: `)
      : (await readAll(stdin)).toString("utf8").replace(/\r?\n$/, "");
  const size = Buffer.byteLength(value);
  if (size > 0 && size <= LIMITS.secretMaxBytes) return value;
  throw new IsolaError("USAGE", {
    attempted: `put secret ${name}`,
    found: `${String(size)} bytes on standard input`,
    required: `1 to ${String(LIMITS.secretMaxBytes)} bytes`,
    fix: `printf %s "$VALUE" | isola secret put ${name}`,
  });
}
