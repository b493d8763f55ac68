/** Builds the command line out of two tables, the verbs and the options, and runs one verb. */
import { Command as CommanderCommand, CommanderError, Option } from "commander";
import {
  type ErrorCode,
  IsolaError,
  OPTIONS,
  type OptionName,
  type OptionSpec,
  flagOf,
  isSecretOption,
  optionsOf,
  toIsolaError,
} from "../contract/index.ts";
import { type Command, CommandContext } from "./command.ts";
import { readConfigFile } from "./config-file.ts";
import type { Io } from "./io.ts";
import { EXIT, exitStatusOf, renderError } from "./render/errors.ts";

/** Options that may stand before the verb. */
const GLOBAL: readonly OptionName[] = ["url", "token", "namespace", "data", "json"];

/** Runs a command line and says how it ended. */
export async function runProgram(
  argv: readonly string[],
  commands: readonly Command[],
  io: Io,
  version: string,
): Promise<number> {
  let status: number = EXIT.done;
  const program = buildProgram(commands, io, version, (ended) => {
    status = ended;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return status;
  } catch (error) {
    const failure = classify(error, argv, commands);
    if (failure === undefined) return EXIT.done;
    io.stderr.write(`${renderError(failure, { json: argv.includes("--json") })}\n`);
    return exitStatusOf(failure.code);
  }
}

/** undefined if nothing failed: help and version also leave by an exception. */
function classify(
  error: unknown,
  argv: readonly string[],
  commands: readonly Command[],
): IsolaError | undefined {
  if (!(error instanceof CommanderError)) {
    return withHint(toIsolaError(error, `run isola ${argv[0] ?? ""}`));
  }
  if (error.exitCode === 0) return undefined;
  const known = commandIn(argv, commands);
  const verb = known ?? argv.find((word) => /^[a-z]/.test(word)) ?? "";
  if (error.code === "commander.help") {
    return new IsolaError("USAGE", {
      attempted: `run isola ${verb}`.trimEnd(),
      found: "no command",
      required: "one of the commands above",
    });
  }
  const [found = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  return new IsolaError("USAGE", {
    attempted: `run isola ${verb}`.trimEnd(),
    found,
    required: suggestion?.replace(/^\(?(.*?)\)?$/, "$1") ?? "what the help of the command shows",
    fix: known === undefined ? "isola --help" : `isola ${known} --help`,
  });
}

/** The command that was meant: its words stand behind one another, options may come before. */
function commandIn(argv: readonly string[], commands: readonly Command[]): string | undefined {
  const named = commands.filter(({ name }) => ` ${argv.join(" ")} `.includes(` ${name} `));
  const [longest] = named.toSorted((one, other) => other.name.length - one.name.length);
  return longest?.name;
}

/** What to do in words of the command line, where the catalogue speaks of HTTP. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  TOKEN_MISSING: "pass --token or ISOLA_TOKEN, or name the platform's data folder with --data",
  TOKEN_INVALID: "pass a live token with --token or ISOLA_TOKEN; isola token list shows them",
  ROLE_TOO_LOW: "pass a token of that role with --token or ISOLA_TOKEN",
};

function withHint(error: IsolaError): IsolaError {
  const fix = HINTS[error.code];
  if (fix === undefined || error.parts.fix !== undefined) return error;
  return new IsolaError(error.code, { ...error.parts, fix }, { cause: error });
}

type SetStatus = (status: number) => void;

function buildProgram(
  commands: readonly Command[],
  io: Io,
  version: string,
  setStatus: SetStatus,
): CommanderCommand {
  const program = new CommanderCommand("isola");
  prepare(program, io)
    .description("Functions as V8 isolates: deploy, call and watch them.")
    .version(version)
    .enablePositionalOptions()
    .usage("[options] <command>");
  for (const name of GLOBAL) program.addOption(toOption(name));
  const groups = new Map<string, CommanderCommand>();
  for (const command of commands) {
    const [first = "", second] = command.name.split(" ");
    if (second === undefined) {
      addVerb(program, first, command, io, setStatus);
      continue;
    }
    const group = groups.get(first) ?? prepare(program.command(first), io);
    const title = ["store", "runs"].includes(first) ? first : `${first}s`;
    groups.set(first, group.description(`${title}: ${listVerbs(commands, first)}`));
    addVerb(group, second, command, io, setStatus);
  }
  return program;
}

function listVerbs(commands: readonly Command[], group: string): string {
  return commands
    .filter(({ name }) => name.startsWith(`${group} `))
    .map(({ name }) => name.slice(group.length + 1))
    .join(", ");
}

function prepare(command: CommanderCommand, io: Io): CommanderCommand {
  return command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => {
        // Errors are rendered by us; what else goes here is help after a bare `isola`.
        if (!text.startsWith("error:")) io.stderr.write(text);
      },
    })
    .showSuggestionAfterError(true);
}

function addVerb(
  parent: CommanderCommand,
  verb: string,
  command: Command,
  io: Io,
  setStatus: SetStatus,
): void {
  const built = prepare(parent.command(verb), io)
    .description(command.summary)
    .helpCommand(false)
    .aliases([...(command.aliases ?? [])])
    .allowExcessArguments(command.passesThrough === true);
  if (command.arguments !== undefined) built.arguments(command.arguments);
  if (command.passesThrough === true) built.allowUnknownOption().helpOption(false);
  const names = new Map<string, OptionName>();
  for (const name of GLOBAL) names.set(toOption(name).attributeName(), name);
  for (const name of optionsOf(command.name)) {
    if (isSecretOption(name)) continue;
    const option = toOption(name);
    names.set(option.attributeName(), name);
    built.addOption(option);
  }
  built.action(async (...given: unknown[]) => {
    const args = given.slice(0, -2) as (string | undefined)[];
    const own = built.opts<Record<string, unknown>>();
    const flags = Object.fromEntries([
      ...flagsOf(parentOptions(built), GLOBAL_NAMES),
      ...flagsOf(own, names),
    ]);
    const file = readConfigFile(process.cwd());
    const context = new CommandContext({
      io,
      flags,
      file,
      rest: built.args,
    });
    // Every option is looked at before anything is done: a bad one stops the whole command.
    for (const name of optionsOf(command.name)) context.find(name);
    await command.run(context, ...args);
    setStatus(context.exitStatus);
  });
}

const GLOBAL_NAMES = new Map(GLOBAL.map((name) => [toOption(name).attributeName(), name]));

function parentOptions(command: CommanderCommand): Record<string, unknown> {
  const all: Record<string, unknown> = {};
  for (let parent = command.parent; parent !== null; parent = parent.parent) {
    Object.assign(all, parent.opts());
  }
  return all;
}

function flagsOf(
  given: Readonly<Record<string, unknown>>,
  names: ReadonlyMap<string, OptionName>,
): [string, unknown][] {
  return Object.entries(given).flatMap(([key, value]): [string, unknown][] => {
    const name = names.get(key);
    return name === undefined || value === undefined ? [] : [[name, value]];
  });
}

function toOption(name: OptionName): Option {
  const spec: OptionSpec = OPTIONS[name];
  const short = spec.short === undefined ? "" : `-${spec.short}, `;
  const value = placeholder(spec);
  const flags = `${short}--${flagOf(name)}${value === "" ? "" : ` <${value}>`}`;
  const option = new Option(flags, helpText(spec));
  if (spec.type === "list") {
    option.argParser((item: string, previous: unknown) => [
      ...(Array.isArray(previous) ? (previous as string[]) : []),
      item,
    ]);
  }
  return option;
}

function placeholder(spec: OptionSpec): string {
  switch (spec.type) {
    case "switch":
      return "";
    case "integer":
      return spec.unit ?? "number";
    case "duration":
      return "time";
    case "choice":
      return spec.choices.join("|");
    default:
      return spec.value;
  }
}

function helpText(spec: OptionSpec): string {
  const notes = [defaultText(spec), spec.environment === undefined ? "" : `env ${spec.environment}`]
    .filter((note) => note !== "")
    .join("; ");
  return notes === "" ? spec.help : `${spec.help} (${notes})`;
}

function defaultText(spec: OptionSpec): string {
  if (spec.defaultText !== undefined) return `default: ${spec.defaultText}`;
  const value = "default" in spec ? spec.default : undefined;
  return value === undefined || value === "" ? "" : `default: ${String(value)}`;
}

/** All options as Markdown, one line each. */
export function optionsList(): string {
  const lines = (Object.keys(OPTIONS) as OptionName[]).map((name) => {
    const spec: OptionSpec = OPTIONS[name];
    const value = placeholder(spec);
    const flag = `--${flagOf(name)}${value === "" ? "" : ` ${value}`}`;
    const others = [spec.environment, spec.file].flatMap((key) =>
      key === undefined ? [] : [`\`${key}\``],
    );
    const flags = isSecretOption(name) ? [] : [`\`${flag}\``];
    const names = [...flags, ...others].join(", ");
    const fallback = defaultText(spec) === "" ? "" : ` (${defaultText(spec)})`;
    return `- ${names}: ${spec.help}${fallback}. Of ${spec.commands.join(", ")}.`;
  });
  return lines.join("\n");
}
