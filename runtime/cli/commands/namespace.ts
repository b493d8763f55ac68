import {
  DEFAULT_QUOTAS,
  IsolaError,
  type NamespaceRequest,
  type OptionName,
  type Quotas,
} from "../../contract/index.ts";
import { type Command, type CommandContext, required } from "../command.ts";
import { age, bytes, table } from "../render/text.ts";

const QUOTA_NAMES = Object.keys(DEFAULT_QUOTAS) as (keyof Quotas & OptionName)[];

function requestOf(context: CommandContext, namespace: string): NamespaceRequest {
  const cells = context.option("placement");
  const pairs = QUOTA_NAMES.map((name) => [name, context.option(name)] as const);
  const quotas = Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
  return {
    namespace,
    ...(cells === undefined ? {} : { cells }),
    ...(Object.keys(quotas).length === 0 ? {} : { quotas }),
  };
}

export const namespaceCommands: readonly Command[] = [
  {
    name: "namespace create",
    summary: "make a namespace",
    arguments: "<name>",
    async run(context, name) {
      const request = requestOf(context, required(name, "name"));
      const work = context.client().namespaces.create(request);
      const made = await context.progress("creating the namespace", work);
      context.show(made, () => `created namespace ${made.namespace} (${made.cells} cells)`);
    },
  },
  {
    name: "namespace update",
    summary: "change the cells or quotas of a namespace",
    arguments: "<name>",
    async run(context, name) {
      const request = requestOf(context, required(name, "name"));
      if (request.cells === undefined && request.quotas === undefined) {
        throw new IsolaError("USAGE", {
          attempted: `change namespace ${request.namespace}`,
          found: "nothing to change",
          required: "--cells, or a quota",
        });
      }
      const work = context.client().namespaces.update(request);
      const changed = await context.progress("changing the namespace", work);
      context.show(changed, () => `changed namespace ${changed.namespace}`);
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
            {
              title: "store",
              value: ({ quotas }) => (quotas.storeMaxBytes ? bytes(quotas.storeMaxBytes) : "-"),
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
