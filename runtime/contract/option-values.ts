/**
 * Finds and checks option values: flag, environment, `isola.toml`, default, the strongest first.
 * Every value knows where it comes from, so that a refusal names the place to correct.
 */
import { unreachable } from "./assert.ts";
import { DURATION_FORM, parseDurationMs } from "./durations.ts";
import { type ErrorParts, IsolaError } from "./errors.ts";
import { CONFIG_OPTIONS, type FunctionConfig, resolveConfig } from "./function-config.ts";
import { isLabel } from "./ids.ts";
import { OPTIONS, type OptionName, type OptionSpec, flagOf, isSecretOption } from "./options.ts";

type KindOf<Spec> = Spec extends { readonly type: "integer" | "duration" }
  ? number
  : Spec extends { readonly type: "switch" }
    ? boolean
    : Spec extends { readonly type: "list" }
      ? readonly string[]
      : Spec extends { readonly type: "choice"; readonly choices: readonly (infer Choice)[] }
        ? Choice
        : string;

/** Type of an option's value; undefined is possible where there is no default. */
export type OptionValue<Name extends OptionName> = (typeof OPTIONS)[Name] extends {
  readonly type: "switch" | "list";
}
  ? KindOf<(typeof OPTIONS)[Name]>
  : (typeof OPTIONS)[Name] extends { readonly default: unknown }
    ? KindOf<(typeof OPTIONS)[Name]>
    : KindOf<(typeof OPTIONS)[Name]> | undefined;

/** Where a value comes from. */
export type OptionOrigin = "flag" | "environment" | "file" | "default";

export interface FoundOption<Name extends OptionName> {
  readonly value: OptionValue<Name>;
  readonly origin: OptionOrigin;
  /** For people: `--port`, `ISOLA_PORT`, `isola.toml line 3`, `default`. */
  readonly source: string;
}

/** A checked `isola.toml`. */
export interface ConfigFile {
  /** As it is shown in messages. */
  readonly path: string;
  /** Values by `section.key`. */
  readonly values: ReadonlyMap<string, unknown>;
  /** Overrides by function name; each is valid by itself. */
  readonly functions: ReadonlyMap<string, FunctionConfig>;
  /** Line of `section.key`, from 1. */
  lineOf(key: string): number | undefined;
}

export interface OptionSources {
  /** Values by option name, as the command line gave them. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file?: ConfigFile | undefined;
}

/**
 * The value of an option.
 *
 * @throws IsolaError `USAGE`, naming the source of the refused value.
 */
export function findOption<Name extends OptionName>(
  name: Name,
  sources: OptionSources,
): FoundOption<Name> {
  const spec: OptionSpec = OPTIONS[name];
  const give = (value: unknown, origin: OptionOrigin, source: string) => ({
    value: value as OptionValue<Name>,
    origin,
    source,
  });
  const flag = isSecretOption(name) ? undefined : sources.flags[name];
  if (flag !== undefined) {
    const source = `--${flagOf(name)}`;
    return give(readText(name, spec, flag, source), "flag", source);
  }
  const variable = spec.environment;
  const text = variable === undefined ? undefined : sources.environment[variable];
  if (variable !== undefined && text !== undefined && text !== "") {
    const given = spec.type === "list" ? text.split(",").map((item) => item.trim()) : text;
    return give(readText(name, spec, given, variable), "environment", variable);
  }
  const { file } = sources;
  if (file !== undefined && spec.file !== undefined && file.values.has(spec.file)) {
    const line = file.lineOf(spec.file);
    const source = line === undefined ? file.path : `${file.path} line ${String(line)}`;
    const location = { file: file.path, line: line ?? 1, column: 1 };
    return give(
      readTyped(name, spec, file.values.get(spec.file), source, location),
      "file",
      source,
    );
  }
  return give(defaultOf(spec), "default", "default");
}

function defaultOf(spec: OptionSpec): unknown {
  if (spec.type === "switch") return false;
  if (spec.type === "list") return [];
  return spec.default;
}

const SWITCH_WORDS: ReadonlyMap<string, boolean> = new Map([
  ...["1", "true", "yes", "on"].map((word): [string, boolean] => [word, true]),
  ...["0", "false", "no", "off"].map((word): [string, boolean] => [word, false]),
]);

/** A value written as text: a flag or a variable. */
function readText(name: OptionName, spec: OptionSpec, given: unknown, source: string): unknown {
  if (typeof given !== "string") return readTyped(name, spec, given, source);
  if (spec.type === "integer") {
    const isNumber = /^-?\d+$/.test(given.trim());
    return readTyped(name, spec, isNumber ? Number(given) : given, source);
  }
  if (spec.type === "switch") {
    const meant = SWITCH_WORDS.get(given.trim().toLowerCase());
    return readTyped(name, spec, meant ?? given, source);
  }
  return readTyped(name, spec, given, source);
}

/** A value of its own type: from isola.toml, or parsed from text. */
function readTyped(
  name: OptionName,
  spec: OptionSpec,
  given: unknown,
  source: string,
  location?: ErrorParts["location"],
): unknown {
  if (spec.type === "duration" && typeof given === "string") {
    const parsedMs = parseDurationMs(given);
    if (parsedMs !== undefined) return parsedMs;
  }
  const required = refusal(spec, given);
  if (required === undefined) return given;
  throw new IsolaError("USAGE", {
    attempted: isSecretOption(name) ? `use ${source}` : `use option --${flagOf(name)}`,
    found: isSecretOption(name)
      ? `${source}, which is not shown`
      : `${JSON.stringify(given) ?? typeof given} (${source})`,
    required,
    fix: fixOf(name, spec, source),
    ...(location === undefined ? {} : { location }),
  });
}

function fixOf(name: OptionName, spec: OptionSpec, source: string): string {
  if (isSecretOption(name)) return `correct ${source}`;
  const key = spec.file === undefined ? undefined : `${spec.file} in isola.toml`;
  const others = [`--${flagOf(name)}`, spec.environment, key].filter(
    (other) => other !== undefined && other !== source,
  );
  return `correct ${source}${others.length === 0 ? "" : `; it is also ${others.join(", ")}`}`;
}

/** What is required instead, or undefined if the value will do. */
function refusal(spec: OptionSpec, value: unknown): string | undefined {
  switch (spec.type) {
    case "integer": {
      const unit = spec.unit === undefined ? "" : ` (${spec.unit})`;
      const fits = typeof value === "number" && Number.isInteger(value);
      if (fits && value >= spec.min && value <= spec.max) return undefined;
      return `an integer from ${String(spec.min)} to ${String(spec.max)}${unit}`;
    }
    case "text":
      return matches(value, spec.pattern) ? undefined : (spec.form ?? "a text that is not empty");
    case "list": {
      const fits = Array.isArray(value) && value.every((item) => matches(item, spec.pattern));
      return fits ? undefined : `each ${spec.form}`;
    }
    case "choice": {
      const fits = typeof value === "string" && spec.choices.includes(value);
      return fits ? undefined : `one of ${spec.choices.join(", ")}`;
    }
    case "switch":
      return typeof value === "boolean" ? undefined : "true or false";
    case "duration":
      return typeof value === "number" ? undefined : DURATION_FORM;
    default:
      return unreachable(spec, "every type of option is checked");
  }
}

function matches(value: unknown, pattern: RegExp | undefined): boolean {
  return typeof value === "string" && (pattern === undefined ? value !== "" : pattern.test(value));
}

/** Keys that `isola.toml` knows: `section.key` to the option. */
export function fileKeys(): ReadonlyMap<string, OptionName> {
  const keys = new Map<string, OptionName>();
  for (const name of Object.keys(OPTIONS) as OptionName[]) {
    const { file }: OptionSpec = OPTIONS[name];
    if (file !== undefined) keys.set(file, name);
  }
  return keys;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Checks a parsed `isola.toml` whole: unknown sections and keys, every value, every function.
 *
 * @throws IsolaError `USAGE` with file and line.
 */
export function checkConfigFile(
  path: string,
  parsed: unknown,
  lineOf: (key: string) => number | undefined,
): ConfigFile {
  const known = fileKeys();
  const values = new Map<string, unknown>();
  const functions = new Map<string, FunctionConfig>();
  const at = (key: string) => ({ file: path, line: lineOf(key) ?? 1, column: 1 });
  const refuse = (key: string, parts: Omit<ErrorParts, "attempted" | "location">): never => {
    const line = lineOf(key);
    const place = line === undefined ? path : `${path} line ${String(line)}`;
    throw new IsolaError("USAGE", { attempted: `read ${place}`, location: at(key), ...parts });
  };
  const sections = [...new Set([...known.keys()].map((key) => key.split(".")[0] ?? ""))];
  for (const [section, table] of Object.entries(isRecord(parsed) ? parsed : {})) {
    if (section === "functions" && isRecord(table)) {
      for (const [name, config] of Object.entries(table)) {
        functions.set(name, checkFunctionTable(name, config, refuse));
      }
      continue;
    }
    if (!sections.includes(section) || !isRecord(table)) {
      const required = `[${sections.join("], [")}] or [functions.NAME]`;
      refuse(section, { found: JSON.stringify(section), required, fix: "correct or remove it" });
    }
    for (const [key, value] of Object.entries(isRecord(table) ? table : {})) {
      const full = `${section}.${key}`;
      if (!known.has(full)) {
        const keys = [...known.keys()].filter((other) => other.startsWith(`${section}.`));
        const names = keys.map((other) => other.slice(section.length + 1));
        const required = `one of ${names.join(", ")}`;
        refuse(full, { found: `unknown key ${JSON.stringify(key)} in [${section}]`, required });
      }
      values.set(full, value);
    }
  }
  const file = { path, values, functions, lineOf };
  for (const [key, name] of known) {
    if (values.has(key)) findOption(name, { flags: {}, environment: {}, file });
  }
  return file;
}

function checkFunctionTable(
  name: string,
  config: unknown,
  refuse: (key: string, parts: Omit<ErrorParts, "attempted" | "location">) => never,
): FunctionConfig {
  const section = `functions.${name}`;
  if (!isLabel(name)) {
    refuse(section, { found: JSON.stringify(name), required: "a function's name: a DNS label" });
  }
  if (!isRecord(config))
    refuse(section, { found: typeof config, required: `a table [${section}]` });
  for (const [key, value] of Object.entries(config)) {
    if (!Object.hasOwn(CONFIG_OPTIONS, key)) {
      refuse(`${section}.${key}`, {
        found: `unknown key ${JSON.stringify(key)} in [${section}]`,
        required: `one of ${Object.keys(CONFIG_OPTIONS).join(", ")}`,
      });
    }
    try {
      resolveConfig({ [key]: value });
    } catch (error) {
      if (!(error instanceof IsolaError)) throw error;
      const { found, required = "" } = error.parts;
      refuse(`${section}.${key}`, { found: `${key} = ${found}`, required });
    }
  }
  return config;
}
