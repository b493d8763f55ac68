import type { CellInfo } from "../../contract/index.ts";
import { IsolaError } from "../../contract/index.ts";
import { type Command, integer, required } from "../command.ts";
import { age, bytes, milliseconds, table } from "../render/text.ts";

export function cellsTable(cells: readonly CellInfo[]): string {
  return table(
    cells,
    [
      { title: "slot", value: ({ slot }) => slot, isNumber: true },
      { title: "role", value: ({ role }) => role },
      { title: "namespace", value: ({ namespace }) => namespace ?? "-" },
      { title: "state", value: ({ state }) => state },
      { title: "pid", value: ({ pid }) => pid ?? "-", isNumber: true },
      { title: "restarts", value: ({ restarts }) => restarts, isNumber: true },
      {
        title: "memory",
        value: ({ residentBytes }) => (residentBytes === undefined ? "-" : bytes(residentBytes)),
        isNumber: true,
      },
      {
        title: "cpu",
        value: ({ cpuMs }) => (cpuMs === undefined ? "-" : milliseconds(cpuMs)),
        isNumber: true,
      },
      {
        title: "started",
        value: ({ startedAtMs }) => (startedAtMs === undefined ? "-" : age(startedAtMs)),
      },
    ],
    "no cells",
  );
}

export const cellsCommand: Command = {
  name: "cells",
  summary: "list the cells, or restart one: cells restart N",
  arguments: "[restart] [slot]",
  async run(context, action, slot) {
    const client = context.client();
    if (action === undefined) {
      const items = await client.cells();
      context.show({ items }, () => cellsTable(items));
      return;
    }
    if (action !== "restart") {
      throw new IsolaError("USAGE", {
        attempted: "run isola cells",
        found: JSON.stringify(action),
        required: "nothing, or restart N",
      });
    }
    const restarted = integer(required(slot, "slot"), "slot");
    await context.progress(`restarting cell ${String(restarted)}`, client.restartCell(restarted));
    context.show({ restarted }, () => `restarted cell ${String(restarted)}`);
  },
};
