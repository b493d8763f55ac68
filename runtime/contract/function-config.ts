/**
 * The configuration of a function: one table that drives validation, defaults, help and docs.
 *
 * It comes from three places, strongest first: the deploy request (flags, `isola.toml`), the
 * module's exported `config`, the defaults here.
 */
import { IsolaError } from "./errors.ts";
import { isLabel } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { type Schedule, scheduleFault } from "./schedule.ts";

export type BackendName = "isolate" | "process" | "container" | "gvisor" | "microvm";
export type AuthMode = "public" | "token" | "internal";
export type Egress = "public" | "none" | readonly string[];

/** What an author may write; every field optional. */
export interface FunctionConfig {
  /** Where the function runs. @default "isolate" */
  backend?: BackendName;
  /** Longest wall time of one call in milliseconds; 0 = none. @default 30000 */
  timeoutMs?: number;
  /** Longest time it may hold the thread without yielding, in milliseconds. @default 1000 */
  maxBlockMs?: number;
  /** Memory in MB; on the isolate backend used for admission and metering. @default 128 */
  memoryMb?: number;
  /** Calls at once; beyond it 429; 0 = none. Calls between functions count per cell. @default 0 */
  maxInFlight?: number;
  /** `call`: a fresh isolate for every call. @default "shared" */
  reuse?: "shared" | "call";
  /** Instances of the non-isolate backends. */
  scale?: { min?: number; max?: number; target?: number; idleMs?: number; warm?: number };
  /** Plain environment, visible in listings. Strings or JSON values. */
  env?: Record<string, unknown>;
  /** Names of the namespace's secrets that the function gets in its environment. */
  secrets?: string[];
  /**
   * What the function may call: public addresses, nothing, or a list of hosts (`*.example.com`).
   * @default "public"
   */
  egress?: Egress;
  /** Who may call. @default "public" */
  auth?: AuthMode;
  /** May be repeated on another cell when its cell dies. @default false */
  idempotent?: boolean;
  /** Retries of asynchronous calls and workflow steps. */
  retry?: { limit?: number; delayMs?: number; backoff?: "constant" | "linear" | "exponential" };
  /**
   * Begins a run at each tick: cron expressions of five fields, or six with seconds; UTC where no
   * IANA time zone is said. The input is `{cron, timeZone, scheduledTime}`.
   */
  cron?: (string | { schedule: string; timeZone?: string })[];
  /** Runs under way at once; those beyond are queued, oldest first. 0 = no bound. */
  concurrency?: { limit?: number };
  /** How long ended runs are kept, and how many; 0 = as the platform keeps them. */
  retention?: { ageMs?: number; runs?: number };
  /** workerd compatibility date, YYYY-MM-DD. */
  compatibilityDate?: string;
  /** workerd compatibility flags; experimental ones are refused. */
  compatibilityFlags?: string[];
  /**
   * Workflows by the name of a binding: each stands in the environment as Cloudflare's `Workflow`,
   * for example `{ ORDERS: "order" }`.
   */
  workflows?: Record<string, string>;
  /** Standard Schema validator of the input of a data function. */
  input?: unknown;
  /** Standard Schema validator of its result. */
  output?: unknown;
}

/**
 * A configuration after validation: every default filled in, validators reduced to their presence.
 */
export interface ResolvedConfig {
  readonly backend: BackendName;
  readonly timeoutMs: number;
  readonly maxBlockMs: number;
  readonly memoryMb: number;
  readonly maxInFlight: number;
  readonly reuse: "shared" | "call";
  readonly scale: {
    readonly min: number;
    readonly max: number;
    readonly target: number;
    readonly idleMs: number;
    readonly warm: number;
  };
  readonly env: Readonly<Record<string, unknown>>;
  readonly secrets: readonly string[];
  readonly egress: Egress;
  readonly auth: AuthMode;
  readonly idempotent: boolean;
  readonly retry: {
    readonly limit: number;
    readonly delayMs: number;
    readonly backoff: "constant" | "linear" | "exponential";
  };
  readonly cron: readonly Schedule[];
  readonly concurrency: { readonly limit: number };
  readonly retention: { readonly ageMs: number; readonly runs: number };
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly workflows: Readonly<Record<string, string>>;
}

/** Date under which functions run that name none. */
export const DEFAULT_COMPATIBILITY_DATE = "2026-11-01";
/** Newest date that the pinned workerd accepts. */
const NEWEST_COMPATIBILITY_DATE = "2026-11-24";

type Check = (value: unknown) => string | undefined;

interface ConfigOption {
  readonly default: unknown;
  readonly check: Check;
  readonly help: string;
}

const integer =
  (min: number, max: number): Check =>
  (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
      ? undefined
      : `an integer from ${min} to ${max}`;

const oneOf =
  (...words: string[]): Check =>
  (value) =>
    typeof value === "string" && words.includes(value) ? undefined : `one of ${words.join(", ")}`;

const boolean: Check = (value) => (typeof value === "boolean" ? undefined : "true or false");

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Items of any list in a configuration: it may come from the module itself. */
const LIST_MAX = 1_000;

const strings =
  (pattern: RegExp, what: string): Check =>
  (value) =>
    Array.isArray(value) &&
    value.length <= LIST_MAX &&
    value.every((item) => typeof item === "string" && pattern.test(item))
      ? undefined
      : `a list of at most ${LIST_MAX} ${what}`;

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const HOST_PATTERN =
  /^(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?(:\d{1,5})?$/i;

const egress: Check = (value) => {
  if (value === "public" || value === "none") return undefined;
  const wanted = `"public", "none", or a list of hosts such as "a.example.com" or "*.example.com"`;
  return strings(HOST_PATTERN, "hosts")(value) === undefined ? undefined : wanted;
};

const env: Check = (value) => {
  if (!isRecord(value)) return "an object";
  const bad = Object.keys(value).find(
    (key) => !ENV_NAME.test(key) || key === "ISOLA" || key === "__proto__",
  );
  if (bad !== undefined)
    return `names of letters, digits and _ other than ISOLA (not ${JSON.stringify(bad)})`;
  return JSON.stringify(value).length <= LIMITS.envMaxBytes
    ? undefined
    : `at most ${LIMITS.envMaxBytes} bytes`;
};

const WORKFLOWS_MAX = 100;

const workflows: Check = (value) => {
  if (!isRecord(value)) return "an object of workflow names by binding";
  const items = Object.entries(value);
  if (items.length > WORKFLOWS_MAX) return `at most ${WORKFLOWS_MAX} bindings`;
  const bad = items.find(
    ([name, to]) =>
      !ENV_NAME.test(name) || name === "ISOLA" || typeof to !== "string" || !isLabel(to),
  );
  if (bad === undefined) return undefined;
  return `names of workflows by names of letters, digits and _ (not ${JSON.stringify(bad)})`;
};

/** An object whose fields are options of their own, each optional. */
const fields =
  (table: Record<string, Check>): Check =>
  (value) => {
    if (!isRecord(value)) return `an object of ${Object.keys(table).join(", ")}`;
    for (const [key, item] of Object.entries(value)) {
      const check = Object.hasOwn(table, key) ? table[key] : undefined;
      if (!check) return `no field ${JSON.stringify(key)}; known: ${Object.keys(table).join(", ")}`;
      const wanted = item === undefined ? undefined : check(item);
      if (wanted !== undefined) return `${key} to be ${wanted}`;
    }
    return undefined;
  };

const text: Check = (value) => (typeof value === "string" ? undefined : "a string");

const cron: Check = (value) => {
  const item = fields({ schedule: text, timeZone: text });
  const wanted = "a list of cron expressions or {schedule, timeZone}";
  if (!Array.isArray(value)) return wanted;
  if (value.length > LIMITS.schedulesPerFunction) return `at most ${LIMITS.schedulesPerFunction}`;
  for (const one of value) {
    const fault = typeof one === "string" ? undefined : item(one);
    if (fault !== undefined) return isRecord(one) ? fault : wanted;
    if (isRecord(one) && one["schedule"] === undefined)
      return "each of the list to have a schedule";
    const bad = scheduleFault(scheduleOf(one as CronItem));
    if (bad !== undefined) return `${JSON.stringify(one)} to be ${bad}`;
  }
  return undefined;
};

type CronItem = NonNullable<FunctionConfig["cron"]>[number];

function scheduleOf(item: CronItem): Schedule {
  const { schedule, timeZone = "UTC" } = typeof item === "string" ? { schedule: item } : item;
  return { schedule: schedule.trim(), timeZone };
}

/** Each once, however often it was said. */
function schedulesOf(items: readonly CronItem[]): Schedule[] {
  const schedules = items.map(scheduleOf);
  return [...new Map(schedules.map((one) => [JSON.stringify(one), one])).values()];
}

const compatibilityDate: Check = (value) =>
  typeof value === "string" &&
  /^\d{4}-\d{2}-\d{2}$/.test(value) &&
  value <= NEWEST_COMPATIBILITY_DATE
    ? undefined
    : `a date YYYY-MM-DD up to ${NEWEST_COMPATIBILITY_DATE}`;

/** Flags that would give a tenant more than its isolate. */
const REFUSED_FLAGS = /^(experimental|unsafe_|allow_|python)/;

const compatibilityFlags: Check = (value) => {
  const wanted = "a list of stable workerd flags";
  if (strings(/^[a-z0-9_]+$/, "flags")(value) !== undefined) return wanted;
  return (value as string[]).some((flag) => REFUSED_FLAGS.test(flag)) ? wanted : undefined;
};

const RETENTION_MAX_MS = 365 * 24 * 60 * 60 * 1_000;
const SCALE_DEFAULT = { min: 0, max: 20, target: 10, idleMs: 60_000, warm: 0 } as const;
const RETRY_DEFAULT = { limit: 0, delayMs: 1_000, backoff: "exponential" } as const;

export const CONFIG_OPTIONS = {
  backend: {
    default: "isolate",
    check: oneOf("isolate", "process", "container", "gvisor", "microvm"),
    help: "where the function runs",
  },
  timeoutMs: {
    default: 30_000,
    check: integer(0, LIMITS.timeoutMaxMs),
    help: "longest wall time of one call; 0 = none",
  },
  maxBlockMs: {
    default: 1_000,
    check: integer(10, LIMITS.blockMaxMs),
    help: "longest time it may hold the thread without yielding",
  },
  memoryMb: {
    default: 128,
    check: integer(16, 65_536),
    help: "memory, for admission and metering",
  },
  maxInFlight: { default: 0, check: integer(0, 100_000), help: "calls at once; 0 = no bound" },
  reuse: {
    default: "shared",
    check: oneOf("shared", "call"),
    help: "call = a fresh isolate for every call",
  },
  scale: {
    default: SCALE_DEFAULT,
    check: fields({
      min: integer(0, 1_000),
      max: integer(1, 1_000),
      target: integer(1, 10_000),
      idleMs: integer(0, 86_400_000),
      warm: integer(0, 100),
    }),
    help: "instances of the non-isolate backends",
  },
  env: { default: {}, check: env, help: "plain environment" },
  secrets: {
    default: [],
    check: strings(ENV_NAME, "secret names"),
    help: "secrets in the environment",
  },
  egress: { default: "public", check: egress, help: "what it may call" },
  auth: { default: "public", check: oneOf("public", "token", "internal"), help: "who may call" },
  idempotent: { default: false, check: boolean, help: "may be repeated on another cell" },
  retry: {
    default: RETRY_DEFAULT,
    check: fields({
      limit: integer(0, 1_000),
      delayMs: integer(0, 86_400_000),
      backoff: oneOf("constant", "linear", "exponential"),
    }),
    help: "retries of asynchronous calls and steps",
  },
  cron: { default: [], check: cron, help: "schedules of runs, with a time zone each" },
  concurrency: {
    default: { limit: 0 },
    check: fields({ limit: integer(0, 1_000_000) }),
    help: "runs under way at once; 0 = no bound",
  },
  retention: {
    default: { ageMs: 0, runs: 0 },
    check: fields({ ageMs: integer(0, RETENTION_MAX_MS), runs: integer(0, 10_000_000) }),
    help: "how long ended runs are kept, and how many; 0 = as the platform does",
  },
  compatibilityDate: {
    default: DEFAULT_COMPATIBILITY_DATE,
    check: compatibilityDate,
    help: "workerd compatibility date",
  },
  compatibilityFlags: {
    default: [],
    check: compatibilityFlags,
    help: "workerd compatibility flags",
  },
  workflows: {
    default: {},
    check: workflows,
    help: "workflows by the name of a binding",
  },
} as const satisfies Record<keyof ResolvedConfig, ConfigOption>;

/**
 * Merges `layers` (strongest first) over the defaults.
 *
 * @param layers what the deploy request and the module say; undefined fields fall through.
 * @throws IsolaError `CONFIG_INVALID` naming the option, what was found and what is required.
 */
export function resolveConfig(...layers: readonly unknown[]): ResolvedConfig {
  const resolved: Record<string, unknown> = {};
  for (const layer of layers) checkKeys(layer);
  for (const [name, option] of Object.entries<ConfigOption>(CONFIG_OPTIONS)) {
    const given = layers
      .map((layer) => (isRecord(layer) ? layer[name] : undefined))
      .filter((value) => value !== undefined);
    for (const value of given) checkOption(name, option, value);
    resolved[name] = mergeValues(option.default, given);
  }
  const config = resolved as unknown as ResolvedConfig;
  return { ...config, cron: schedulesOf(config.cron) };
}

/** Objects merge by field, everything else is replaced; the strongest layer wins. */
function mergeValues(fallback: unknown, strongestFirst: readonly unknown[]): unknown {
  if (!isRecord(fallback)) return strongestFirst[0] ?? fallback;
  return Object.assign({}, fallback, ...strongestFirst.toReversed());
}

function checkKeys(layer: unknown): void {
  if (layer === undefined) return;
  if (!isRecord(layer)) refuse("config", layer, "an object");
  for (const key of Object.keys(layer)) {
    if (Object.hasOwn(CONFIG_OPTIONS, key) || key === "input" || key === "output") continue;
    refuse(key, layer[key], `one of the known options: ${Object.keys(CONFIG_OPTIONS).join(", ")}`);
  }
}

function checkOption(name: string, option: ConfigOption, value: unknown): void {
  const wanted = option.check(value);
  if (wanted !== undefined) refuse(name, value, wanted);
}

function refuse(name: string, value: unknown, required: string): never {
  const shown = name === "env" ? "an environment" : (JSON.stringify(value) ?? typeof value);
  throw new IsolaError("CONFIG_INVALID", {
    attempted: `use option ${JSON.stringify(name)}`,
    found: shown.slice(0, 200),
    required,
  });
}
