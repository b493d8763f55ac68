/**
 * Every option of the command line: one table that drives flags, environment names, `isola.toml`,
 * validation, help and the table in `runtime/cli/OPTIONS.md`. How a value is found and checked is
 * in `option-values.ts`.
 */
import { LIMITS } from "./limits.ts";
import { DEFAULT_NAMESPACE } from "./ids.ts";
import { ROLES } from "./admin.ts";
import { RUN_OPTIONS, RUN_VERBS } from "./run-options.ts";
import { STORE_OPTIONS, STORE_VERBS } from "./store-options.ts";

interface OptionBase {
  /** Shown in help, lower case, no full stop. */
  readonly help: string;
  /** Verbs that take it. */
  readonly commands: readonly string[];
  /** Flag without dashes. @default the name in kebab case */
  readonly flag?: string;
  /** One letter. */
  readonly short?: string;
  readonly environment?: string;
  /** `section.key` in isola.toml. */
  readonly file?: string;
  /** What help shows where the default is computed. */
  readonly defaultText?: string;
}

export interface IntegerOption extends OptionBase {
  readonly type: "integer";
  readonly unit?: string;
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

export interface TextOption extends OptionBase {
  readonly type: "text";
  /** What help shows for the value. */
  readonly value: string;
  readonly pattern?: RegExp;
  /** What the pattern asks for, in words. */
  readonly form?: string;
  readonly default?: string;
  /** Given by its variable alone: a command line and a file are read by others. */
  readonly isSecret?: true;
}

/** May be given several times; in the environment separated by commas. */
export interface ListOption extends OptionBase {
  readonly type: "list";
  readonly value: string;
  readonly pattern: RegExp;
  readonly form: string;
}

export interface ChoiceOption extends OptionBase {
  readonly type: "choice";
  readonly choices: readonly string[];
  readonly default?: string;
}

export interface SwitchOption extends OptionBase {
  readonly type: "switch";
}

/** A length of time, kept in milliseconds. */
export interface DurationOption extends OptionBase {
  readonly type: "duration";
  readonly default?: number;
}

export type OptionSpec =
  | IntegerOption
  | TextOption
  | ListOption
  | ChoiceOption
  | SwitchOption
  | DurationOption;

const START = ["start", "dev"];
/** Those that use, or look at, the bucket of the cold tier. */
const BUCKET = [...START, "doctor"];
const FUNCTION_VERBS = [
  "deploy",
  "list",
  "describe",
  "remove",
  "versions",
  "rollback",
  "promote",
  "release",
  "invoke",
  "logs",
  "usage",
  "schedules",
];
const SECRET_VERBS = ["secret put", "secret list", "secret remove", "secret callback-key"];
const TOKEN_VERBS = ["token create", "token list", "token revoke"];
const NAMESPACE_CHANGES = ["namespace create", "namespace update"];
const NAMESPACE_VERBS = [...NAMESPACE_CHANGES, "namespace list", "namespace remove"];
const IN_NAMESPACE = [
  ...FUNCTION_VERBS,
  ...SECRET_VERBS,
  ...TOKEN_VERBS,
  ...STORE_VERBS,
  ...RUN_VERBS,
];
const REMOTE = [...IN_NAMESPACE, ...NAMESPACE_VERBS, "cells", "status"];
/** A function's answer, or an object, is printed as it is. */
const RAW_VERBS: ReadonlySet<string> = new Set(["invoke", "store get"]);
const PRINTING = [...REMOTE.filter((verb) => !RAW_VERBS.has(verb)), "doctor", "init"];

const DAY_MS = 24 * 60 * 60 * 1_000;
const PORT_MAX = 65_535;
const MEBIBYTES_PER_TEBIBYTE = 1_024 * 1_024;
const ADDRESS = /^[^\s/]+$/;
const CIDR = /^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f]*:[0-9a-f:.]*)\/\d{1,3}$/i;
const HTTP_URL = /^https?:\/\/[^\s/]+\/?$/;

const PLATFORM_OPTIONS = {
  port: {
    type: "integer",
    min: 0,
    max: PORT_MAX,
    default: 8_080,
    environment: "ISOLA_PORT",
    file: "platform.port",
    help: "port of the public listener; 0 = any free one",
    commands: START,
  },
  host: {
    type: "text",
    value: "address",
    pattern: ADDRESS,
    form: "an address",
    default: "127.0.0.1",
    environment: "ISOLA_HOST",
    file: "platform.host",
    help: "address of the public listener",
    commands: START,
  },
  adminPort: {
    type: "integer",
    min: 0,
    max: PORT_MAX,
    default: 8_081,
    environment: "ISOLA_ADMIN_PORT",
    file: "platform.adminPort",
    help: "port of the admin listener; 0 = any free one",
    commands: START,
  },
  adminHost: {
    type: "text",
    value: "address",
    pattern: ADDRESS,
    form: "an address",
    default: "127.0.0.1",
    environment: "ISOLA_ADMIN_HOST",
    file: "platform.adminHost",
    help: "address of the admin listener",
    commands: START,
  },
  data: {
    type: "text",
    value: "folder",
    default: ".isola",
    environment: "ISOLA_DATA",
    file: "platform.data",
    help: "data folder of the platform; the token is looked for in it",
    // In `invoke` --data is the input, as in every tool that calls something.
    commands: [...START, ...REMOTE.filter((verb) => verb !== "invoke"), "stop", "doctor"],
  },
  cells: {
    type: "integer",
    min: 1,
    max: LIMITS.cellSlots,
    defaultText: "processor cores - 1, at least 1",
    environment: "ISOLA_CELLS",
    file: "platform.cells",
    help: "shared cells: processes that run functions",
    commands: START,
  },
  shards: {
    type: "integer",
    min: 1,
    max: 1_024,
    defaultText: "as many as cells; fixed at first start",
    environment: "ISOLA_SHARDS",
    file: "platform.shards",
    help: "owners of runs and jobs",
    commands: START,
  },
  allowPrivate: {
    type: "list",
    value: "cidr",
    pattern: CIDR,
    form: "an address range such as 10.0.0.0/8",
    environment: "ISOLA_ALLOW_PRIVATE",
    file: "platform.allowPrivate",
    help: "private addresses that functions may call; repeatable",
    commands: START,
  },
  keyFile: {
    type: "text",
    value: "file",
    environment: "ISOLA_KEY_FILE",
    file: "platform.keyFile",
    defaultText: "beside the data folder",
    help: "file with the key that seals secrets",
    commands: START,
  },
  cellMemoryMb: {
    type: "integer",
    unit: "MB",
    min: 64,
    max: 65_536,
    default: 1_024,
    environment: "ISOLA_CELL_MEMORY_MB",
    file: "platform.cellMemoryMb",
    help: "memory of one cell",
    commands: START,
  },
  otlpEndpoint: {
    type: "text",
    value: "url",
    pattern: /^https?:\/\/\S+$/,
    form: "an http or https address",
    environment: "OTEL_EXPORTER_OTLP_ENDPOINT",
    file: "platform.otlpEndpoint",
    help: "where traces are sent, as OTLP over HTTP",
    commands: START,
  },
  otlpHeaders: {
    type: "text",
    value: "pairs",
    environment: "OTEL_EXPORTER_OTLP_HEADERS",
    file: "platform.otlpHeaders",
    help: "headers of the trace exporter: name=value, comma-separated",
    commands: START,
  },
  logLevel: {
    type: "choice",
    choices: ["debug", "info", "warn", "error"],
    default: "warn",
    environment: "ISOLA_LOG_LEVEL",
    file: "platform.logLevel",
    help: "least level of the platform's own messages",
    commands: START,
  },
  storeMemoryMb: {
    type: "integer",
    unit: "MB",
    min: 4,
    max: 65_536,
    default: 64,
    environment: "ISOLA_STORE_MEMORY_MB",
    file: "store.memoryMb",
    help: "memory of the store in one shard",
    commands: START,
  },
  storeDiskMb: {
    type: "integer",
    unit: "MB",
    min: 1,
    max: 64 * MEBIBYTES_PER_TEBIBYTE,
    default: 4_096,
    environment: "ISOLA_STORE_DISK_MB",
    file: "store.diskMb",
    help: "disk of the store in one shard",
    commands: START,
  },
  storeColdMb: {
    type: "integer",
    unit: "MB",
    min: 1,
    max: 1_024 * MEBIBYTES_PER_TEBIBYTE,
    default: MEBIBYTES_PER_TEBIBYTE,
    environment: "ISOLA_STORE_COLD_MB",
    file: "store.coldMb",
    help: "what one shard of the store may hold in the bucket",
    commands: START,
  },
  s3Endpoint: {
    type: "text",
    value: "url",
    pattern: /^https?:\/\/[^\s?#@]+$/,
    form: "an http or https address without credentials",
    environment: "ISOLA_S3_ENDPOINT",
    file: "s3.endpoint",
    help: "S3-compatible server of the store's cold tier, addressed in path style",
    defaultText: "none: disk is the last tier",
    commands: BUCKET,
  },
  s3Bucket: {
    type: "text",
    value: "name",
    pattern: /^[0-9A-Za-z][0-9A-Za-z._-]{1,254}$/,
    form: "a bucket's name",
    environment: "ISOLA_S3_BUCKET",
    file: "s3.bucket",
    help: "bucket of the cold tier; it must exist",
    commands: BUCKET,
  },
  s3Region: {
    type: "text",
    value: "name",
    pattern: /^[0-9A-Za-z-]+$/,
    form: "a region's name",
    default: "us-east-1",
    environment: "ISOLA_S3_REGION",
    file: "s3.region",
    help: "region of the bucket, for signatures",
    commands: BUCKET,
  },
  s3Prefix: {
    type: "text",
    value: "prefix",
    pattern: /^[0-9A-Za-z._/-]{1,200}$/,
    form: "at most 200 letters, digits and ._/-",
    default: "isola/",
    environment: "ISOLA_S3_PREFIX",
    file: "s3.prefix",
    help: "before every key in the bucket; an installation's own name follows",
    commands: BUCKET,
  },
  s3AccessKeyId: {
    type: "text",
    value: "id",
    isSecret: true,
    environment: "ISOLA_S3_ACCESS_KEY_ID",
    help: "who uses the bucket",
    commands: BUCKET,
  },
  s3SecretAccessKey: {
    type: "text",
    value: "key",
    isSecret: true,
    environment: "ISOLA_S3_SECRET_ACCESS_KEY",
    help: "its secret",
    commands: BUCKET,
  },
  s3SessionToken: {
    type: "text",
    value: "token",
    isSecret: true,
    environment: "ISOLA_S3_SESSION_TOKEN",
    help: "of temporary credentials",
    commands: BUCKET,
  },
  runAge: {
    type: "duration",
    default: 7 * DAY_MS,
    environment: "ISOLA_RUN_AGE",
    file: "runs.age",
    help: "how long ended runs are kept; at least a day",
    commands: START,
  },
  runsKept: {
    type: "integer",
    min: 0,
    max: 10_000_000,
    default: 100_000,
    environment: "ISOLA_RUNS_KEPT",
    file: "runs.kept",
    help: "ended runs that one shard keeps",
    commands: START,
  },
  callbackAge: {
    type: "duration",
    default: DAY_MS / 4,
    environment: "ISOLA_CALLBACK_AGE",
    file: "runs.callbackAge",
    help: "how long a callback that nobody takes is sent again",
    commands: START,
  },
  dir: {
    type: "text",
    value: "folder",
    environment: "ISOLA_DIR",
    file: "deploy.dir",
    help: "deploy this folder of functions after the start",
    commands: ["start"],
  },
  dev: {
    type: "switch",
    environment: "ISOLA_DEV",
    file: "platform.dev",
    help: "show callers messages and stacks of function errors",
    commands: ["start"],
  },
} as const satisfies Record<string, OptionSpec>;

const CLIENT_OPTIONS = {
  url: {
    type: "text",
    value: "url",
    pattern: HTTP_URL,
    form: "an address such as http://127.0.0.1:8081",
    environment: "ISOLA_URL",
    file: "client.url",
    defaultText: "the platform of --data, else http://127.0.0.1:8081",
    help: "admin address of the platform",
    commands: [...REMOTE, "dev"],
  },
  publicUrl: {
    type: "text",
    value: "url",
    pattern: HTTP_URL,
    form: "an address such as http://127.0.0.1:8080",
    environment: "ISOLA_PUBLIC_URL",
    file: "client.publicUrl",
    defaultText: "found through the admin address",
    help: "public address of the platform",
    commands: ["invoke", "deploy", "describe", "dev"],
  },
  token: {
    type: "text",
    value: "token",
    environment: "ISOLA_TOKEN",
    file: "client.token",
    defaultText: "<data>/admin-token",
    help: "bearer token",
    commands: [...REMOTE, "dev"],
  },
  namespace: {
    type: "text",
    value: "name",
    short: "n",
    default: DEFAULT_NAMESPACE,
    environment: "ISOLA_NAMESPACE",
    file: "client.namespace",
    help: "namespace to work in",
    commands: [...IN_NAMESPACE, "start", "dev"],
  },
  json: { type: "switch", help: "print JSON", commands: PRINTING },
} as const satisfies Record<string, OptionSpec>;

const VERB_OPTIONS = {
  name: {
    type: "text",
    value: "name",
    help: "name of the function, where the file's name is not wanted",
    commands: ["deploy"],
  },
  backend: {
    type: "choice",
    choices: ["isolate", "process", "container", "gvisor", "microvm"],
    help: "where the function runs",
    commands: ["deploy"],
  },
  traffic: {
    type: "integer",
    unit: "percent",
    min: 0,
    max: 100,
    help: "share of calls that the version gets",
    defaultText: "100",
    commands: ["deploy", "promote"],
  },
  dryRun: {
    type: "switch",
    help: "build and check everything, change nothing",
    commands: ["deploy"],
  },
  env: {
    type: "list",
    value: "name=value",
    pattern: /^[A-Za-z_][A-Za-z0-9_]*=/,
    form: "NAME=value",
    short: "e",
    help: "plain environment of the function; repeatable",
    commands: ["deploy"],
  },
  input: {
    type: "text",
    value: "json",
    flag: "data",
    short: "d",
    help: "input of the call",
    commands: ["invoke"],
  },
  dataFile: { type: "text", value: "file", help: "file with the input", commands: ["invoke"] },
  method: {
    type: "text",
    value: "method",
    pattern: /^[A-Za-z]+$/,
    form: "an HTTP method",
    short: "X",
    defaultText: "POST with input, GET without",
    help: "HTTP method",
    commands: ["invoke"],
  },
  path: {
    type: "text",
    value: "path",
    default: "/",
    help: "path after the function's name",
    commands: ["invoke"],
  },
  header: {
    type: "list",
    value: "name:value",
    pattern: /^[^:\s]+:/,
    form: "name:value",
    short: "H",
    help: "request header; repeatable",
    commands: ["invoke"],
  },
  include: {
    type: "switch",
    short: "i",
    help: "print the response's status and headers, too",
    commands: ["invoke"],
  },
  follow: { type: "switch", short: "f", help: "go on as lines appear", commands: ["logs"] },
  since: {
    type: "duration",
    help: "how far back",
    defaultText: "everything that is kept",
    commands: ["logs", "usage", "runs list"],
  },
  placement: {
    type: "choice",
    flag: "cells",
    choices: ["shared", "dedicated"],
    defaultText: "shared",
    help: "cells shared with others, or of its own",
    commands: NAMESPACE_CHANGES,
  },
  force: {
    type: "switch",
    help: "also if there are functions in it",
    commands: ["namespace remove"],
  },
  functionsMax: quota("functions"),
  callsPerSecondMax: quota("calls a second; 0 = no bound"),
  inFlightMax: quota("calls in flight; 0 = no bound"),
  bundleTotalMaxBytes: quota("bytes of all bundles"),
  storeMaxBytes: quota("bytes in the store; 0 = no bound"),
  role: {
    type: "choice",
    choices: ROLES,
    default: "deploy",
    help: "what the token may do; each role includes those before it",
    commands: ["token create"],
  },
  label: {
    type: "text",
    value: "text",
    default: "",
    help: "what the token is for",
    commands: ["token create"],
  },
} as const satisfies Record<string, OptionSpec>;

export const OPTIONS = {
  ...PLATFORM_OPTIONS,
  ...CLIENT_OPTIONS,
  ...VERB_OPTIONS,
  ...STORE_OPTIONS,
  ...RUN_OPTIONS,
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof OPTIONS;

function quota<Help extends string>(help: Help) {
  return {
    type: "integer",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: `quota: ${help}`,
    commands: NAMESPACE_CHANGES,
  } as const;
}

/** The flag of an option without its dashes. */
export function flagOf(name: OptionName): string {
  const { flag }: OptionSpec = OPTIONS[name];
  return flag ?? name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** True for what stands in the environment alone. */
export function isSecretOption(name: OptionName): boolean {
  const spec: OptionSpec = OPTIONS[name];
  return spec.type === "text" && spec.isSecret === true;
}

/** Options that a verb takes, in the order of the table. */
export function optionsOf(command: string): OptionName[] {
  return (Object.keys(OPTIONS) as OptionName[]).filter((name) => {
    const { commands }: OptionSpec = OPTIONS[name];
    return commands.includes(command);
  });
}
