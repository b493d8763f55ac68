import { type Command, required } from "../command.ts";
import { age, table } from "../render/text.ts";

export const tokenCommands: readonly Command[] = [
  {
    name: "token create",
    summary: "make a token for a namespace; it is shown this once",
    async run(context) {
      const made = await context
        .client()
        .tokens.create(context.option("role"), context.option("label"));
      if (!context.wantsJson) {
        context.note(`token ${made.id}, role ${made.role}; it is not shown again:`);
      }
      context.show(made, () => made.token);
    },
  },
  {
    name: "token list",
    aliases: ["ls"],
    summary: "list the tokens of a namespace",
    async run(context) {
      const items = await context.client().tokens.list();
      context.show({ items }, () =>
        table(
          items,
          [
            { title: "id", value: ({ id }) => id },
            { title: "role", value: ({ role }) => role },
            { title: "label", value: ({ label }) => label },
            { title: "created", value: ({ createdAtMs }) => age(createdAtMs) },
          ],
          "no tokens",
        ),
      );
    },
  },
  {
    name: "token revoke",
    aliases: ["remove"],
    summary: "revoke a token",
    arguments: "<id>",
    async run(context, id) {
      const revoked = required(id, "id");
      await context.client().tokens.revoke(revoked);
      context.show({ revoked }, () => `revoked token ${revoked}`);
    },
  },
];
