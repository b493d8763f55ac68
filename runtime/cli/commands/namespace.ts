import { DEFAULT_QUOTAS, type OptionName, type Quotas } from "../../contract/index.ts";
import { type Command, type CommandContext, required } from "../command.ts";
import { age, table } from "../render/text.ts";

const QUOTA_NAMES = Object.keys(DEFAULT_QUOTAS) as (keyof Quotas & OptionName)[];

function quotasOf(context: CommandContext): Partial<Quotas> {
  const pairs = QUOTA_NAMES.map((name) => [name, context.option(name)] as const);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

export const namespaceCommands: readonly Command[] = [
  {
    name: "namespace create",
    summary: "make a namespace",
    arguments: "<name>",
    async run(context, name) {
      const quotas = quotasOf(context);
      const work = context.client().namespaces.create({
        namespace: required(name, "name"),
        cells: context.option("placement"),
        ...(Object.keys(quotas).length === 0 ? {} : { quotas }),
      });
      const made = await context.progress("creating the namespace", work);
      context.show(made, () => `created namespace ${made.namespace} (${made.cells} cells)`);
    },
  },
  {
    name: "namespace list",
    aliases: ["ls"],
    summary: "list namespaces",
    async run(context) {
      const items = await context.client().namespaces.list();
      context.show({ items }, () =>
        table(
          items,
          [
            { title: "namespace", value: ({ namespace }) => namespace },
            { title: "cells", value: ({ cells }) => cells },
            { title: "functions", value: ({ functions }) => functions, isNumber: true },
            {
              title: "calls/s",
              value: ({ quotas }) => quotas.callsPerSecondMax || "-",
              isNumber: true,
            },
            {
              title: "in flight",
              value: ({ quotas }) => quotas.inFlightMax || "-",
              isNumber: true,
            },
            { title: "created", value: ({ createdAtMs }) => age(createdAtMs) },
          ],
          "no namespaces",
        ),
      );
    },
  },
  {
    name: "namespace remove",
    aliases: ["delete", "rm"],
    summary: "remove a namespace with everything in it",
    arguments: "<name>",
    async run(context, name) {
      const removed = required(name, "name");
      await context.progress(
        "removing the namespace",
        context.client().namespaces.remove(removed, { force: context.option("force") }),
      );
      context.show({ removed }, () => `removed namespace ${removed}`);
    },
  },
];
