/** Runs: asynchronous calls and workflows, listed, looked at, followed and told what to do. */
import {
  IsolaError,
  type RestartVersions,
  type RunHistoryLine,
  type RunInfo,
} from "../../contract/index.ts";
import { type Command, type CommandContext, required } from "../command.ts";
import { historyText, runPage, runTable } from "../render/run-text.ts";

export const runCommands: readonly Command[] = [
  { name: "runs list", aliases: ["ls"], summary: "list runs, newest first", run: listRuns },
  {
    name: "runs show",
    summary: "show a run: status, steps with their attempts and times, errors",
    arguments: "<run>",
    async run(context, run) {
      const detail = await context.client().runs.show(required(run, "run"));
      context.show(detail, () => runPage(detail));
    },
  },
  {
    name: "runs history",
    summary: "print what a run did, line by line",
    arguments: "<run>",
    async run(context, run) {
      for (const line of await context.client().runs.history(required(run, "run"))) {
        printLine(context, line);
      }
    },
  },
  {
    name: "runs watch",
    summary: "follow what a run does until it ends; fails if the run does",
    arguments: "<run>",
    run: watchRun,
  },
  {
    name: "runs graph",
    summary: "print the graph of a run, what it did and what is left, or of a workflow",
    arguments: "<run-or-workflow>",
    run: drawGraph,
  },
  {
    name: "runs pause",
    summary: "let attempts end and begin nothing new",
    arguments: "<run>",
    async run(context, run) {
      told(context, await context.client().runs.pause(required(run, "run")));
    },
  },
  {
    name: "runs resume",
    summary: "go on with a paused run",
    arguments: "<run>",
    async run(context, run) {
      told(context, await context.client().runs.resume(required(run, "run")));
    },
  },
  {
    name: "runs terminate",
    summary: "end a run and what it has under way",
    arguments: "<run>",
    async run(context, run) {
      const rollback = context.option("rollback");
      told(context, await context.client().runs.terminate(required(run, "run"), { rollback }));
    },
  },
  {
    name: "runs restart",
    summary: "run it anew as another run; with --from go on with the run itself",
    arguments: "<run>",
    run: restartRun,
  },
  {
    name: "runs send-event",
    aliases: ["signal"],
    summary: "send an event to a run, whether it waits for it yet or not",
    arguments: "<run> <type>",
    run: sendEvent,
  },
  {
    name: "runs replay",
    summary: "make a new run of a request that failed, and print its id",
    arguments: "<run>",
    async run(context, run) {
      const key = context.option("replayKey");
      const replay = key === undefined ? {} : { key };
      const info = await context.client().runs.replay(required(run, "run"), replay);
      context.show(info, () => info.id);
    },
  },
];

async function listRuns(context: CommandContext): Promise<void> {
  const agoMs = context.option("since");
  const limit = context.option("limit") ?? 50;
  const { runs } = context.client();
  const items: RunInfo[] = [];
  let page = await runs.list(query(undefined));
  items.push(...page.items);
  while (page.cursor !== undefined && items.length < limit) {
    page = await runs.list(query(page.cursor));
    items.push(...page.items);
  }
  const { missing } = page;
  context.show({ items, missing }, () => runTable(items));
  for (const { shard, cell, message } of missing) {
    context.note(`shard ${String(shard)} of cell ${String(cell)} is missing: ${message}`);
  }
  // A list with a hole is none that a script should go on with.
  if (missing.length > 0) context.exitStatus = 1;

  function query(cursor: string | undefined) {
    return {
      function: context.option("ofFunction"),
      status: context.option("runStatus"),
      deadLetters: context.option("deadLetters"),
      sinceMs: agoMs === undefined ? undefined : Date.now() - agoMs,
      limit: Math.min(limit - items.length, 1_000),
      cursor,
    };
  }
}

const RUN_ID = /^\d+-[0-9a-f]{32}(\.\d+)*$/;

async function drawGraph(context: CommandContext, given: string | undefined): Promise<void> {
  const name = required(given, "run or workflow");
  const format = context.wantsJson ? "json" : context.option("format");
  const text = context.option("definitionInput");
  const { runs } = context.client();
  const input = text === undefined ? undefined : jsonOf(text, "input");
  const drawn = RUN_ID.test(name)
    ? await runs.drawing(name, format)
    : await runs.definition(name, { format, input });
  context.print(drawn.trimEnd());
}

async function watchRun(context: CommandContext, run: string | undefined): Promise<void> {
  const id = required(run, "run");
  const { runs } = context.client();
  const signal = context.untilInterrupted();
  let status: string | undefined;
  for await (const line of runs.follow(id, { signal })) {
    printLine(context, line);
    if (line.type === "runEnded") ({ status } = line);
    if (line.type === "runRestarted") status = undefined;
  }
  if (status !== "completed") context.exitStatus = 1;
}

/** With --json one object a line, so that it can be followed, too. */
function printLine(context: CommandContext, line: RunHistoryLine): void {
  context.print(context.wantsJson ? JSON.stringify(line) : historyText(line));
}

function told(context: CommandContext, info: RunInfo): void {
  context.show(info, () => `run ${info.id} is ${info.status}`);
}

async function restartRun(context: CommandContext, run: string | undefined): Promise<void> {
  const from = context.option("from");
  const version = versionsOf(context.option("versions"));
  const info = await context.client().runs.restart(required(run, "run"), { from, version });
  // Of another run its id alone, so that a script takes it as it is.
  if (from === undefined) context.show(info, () => info.id);
  else told(context, info);
}

function versionsOf(given: readonly string[]): RestartVersions | undefined {
  if (given.length === 0) return undefined;
  if (given.includes("latest")) {
    if (given.length === 1) return "latest";
    throw new IsolaError("USAGE", {
      attempted: "read the versions",
      found: given.join(", "),
      required: "latest alone, or function=version for each function",
    });
  }
  return Object.fromEntries(
    given.map((text) => {
      const [name = "", version = ""] = text.split("=");
      return [name, version === "latest" ? version : Number(version)] as const;
    }),
  );
}

async function sendEvent(
  context: CommandContext,
  run: string | undefined,
  type: string | undefined,
): Promise<void> {
  const text = context.option("payload");
  const id = context.option("eventId");
  const event = {
    type: required(type, "type"),
    ...(text === undefined ? {} : { payload: jsonOf(text, "payload") }),
    ...(id === undefined ? {} : { id }),
  };
  told(context, await context.client().runs.signal(required(run, "run"), event));
}

function jsonOf(text: string, option: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new IsolaError("USAGE", {
      attempted: `read the ${option}`,
      found: "what is no JSON",
      required: `JSON in --${option}`,
      fix: `put text into quotes of its own: --${option} '"text"'`,
    });
  }
}
