/**
 * Console arguments as text, much as Node's `util.inspect` shows them, and the console itself.
 * Bundled into every tenant isolate: keep it small, and import types only.
 *
 * C1 It runs no getter, `toString`, `toJSON`, `Symbol.toPrimitive` or `inspect` of a tenant's
 *    object: properties are read as descriptors, built-in kinds recognised by natives that were
 *    taken before tenant code ran. Traps of proxies cannot be avoided; they are survived.
 * C2 It never throws, and its work is bounded by depth, items and characters, also where a trap
 *    logs in turn.
 * C3 Formatting is synchronous, so one budget serves the isolate: it is filled at every call.
 */
import type { LogLevel } from "../contract/index.ts";

const DEPTH_MAX = 4;
const ITEMS_MAX = 100;
const KEYS_MAX = 1_000;
const OBJECTS_MAX = 2_000;
const PROTOTYPES_MAX = 9;
const NAME_MAX = 99;
const TEXT_MAX = 16_000;
const LINE_COLUMNS = 76;

const { getOwnPropertyDescriptor: describe, getPrototypeOf, ownKeys, apply } = Reflect;
const { isArray } = Array;
const { stringify } = JSON;

type Code = (...args: unknown[]) => unknown;
type Native = (value: object, ...args: unknown[]) => unknown;

/** A native method or getter as a function of its receiver; undefined for one not its own. */
function native(prototype: object, key: PropertyKey): Native {
  const descriptor = describe(prototype, key);
  const code = (descriptor?.get ?? descriptor?.value) as Code;
  return (value, ...args) => {
    try {
      return apply(code, value, args);
    } catch {
      return undefined;
    }
  };
}

const objectPrototype = Object.prototype;
const codeOf = native(Function.prototype, "toString");
// Depending on its version, V8 makes `stack` a plain property of the error or a native getter.
const stackOf = native(new TypeError(), "stack");

/** Shows an object of a built-in kind; undefined if it only claims to be one. */
type ShowKind = (value: object, name: string) => string | undefined;

const KINDS = new Map<object, ShowKind>([
  [Error.prototype, showError],
  [getPrototypeOf(Uint8Array.prototype) as object, showBytes()],
  [Date.prototype, showText(Date.prototype, "toISOString", "getTime")],
  [RegExp.prototype, showText(RegExp.prototype, "toString", "source")],
  [Map.prototype, showEntries(Map.prototype, true)],
  [Set.prototype, showEntries(Set.prototype, false)],
  [Headers.prototype, showEntries(Headers.prototype, true)],
  [URLSearchParams.prototype, showEntries(URLSearchParams.prototype, true)],
  [URL.prototype, showFields(URL.prototype, ["href"])],
  [Request.prototype, showFields(Request.prototype, ["method", "url", "headers"])],
  [Response.prototype, showFields(Response.prototype, ["status", "headers"])],
]);

let isBusy = false;
let objectsLeft = 0;
let charactersLeft = 0;
let open: object[] = [];

/** The first thing that `look` finds along the prototypes. */
function along<T>(value: object, look: (holder: object) => T | undefined): T | undefined {
  let holder: object | null = value;
  let found: T | undefined;
  for (let step = 0; holder && !found && step < PROTOTYPES_MAX; step += 1) {
    found = look(holder);
    holder = getPrototypeOf(holder);
  }
  return found;
}

/** A property where it is data; getters are not asked (C1). */
function dataOf(value: object, key: PropertyKey): unknown {
  return along(value, (holder) => describe(holder, key))?.value;
}

function nameOf(value: unknown): string {
  const name = typeof value === "function" ? dataOf(value, "name") : value;
  return typeof name === "string" ? name.slice(0, NAME_MAX) : "";
}

/** A text that is longer says so. */
function clip(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}… (cut)` : text;
}

function quote(text: string): string {
  const inner = stringify(clip(text)).slice(1, -1);
  return `'${inner.replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}

function show(value: unknown, isNested = true): string {
  if (typeof value === "object" && value) return showGuarded(value);
  let text = "";
  if (typeof value === "string") text = isNested ? quote(value) : clip(value);
  else if (typeof value === "function") {
    const kind = String(codeOf(value)).startsWith("class") ? "class" : "Function:";
    text = `[${kind} ${nameOf(value) || "(anonymous)"}]`;
  } else if (typeof value === "bigint") text = `${value}n`;
  else text = Object.is(value, -0) ? "-0" : String(value);
  charactersLeft -= text.length;
  return text;
}

function showGuarded(value: object): string {
  if (open.includes(value)) return "[Circular]";
  objectsLeft -= 1;
  if (objectsLeft < 0 || charactersLeft < 0) return "…";
  open.push(value);
  try {
    return showObject(value);
  } catch {
    return "[not printable]";
  } finally {
    open.pop();
  }
}

function showObject(value: object): string {
  const isPlain = getPrototypeOf(value) === objectPrototype;
  const name = isPlain ? "Object" : nameOf(dataOf(value, "constructor"));
  if (open.length > DEPTH_MAX) return `[${name || "Object"}]`;
  if (isArray(value))
    return showList(Number(dataOf(value, "length")), (at) => showProperty(value, at));
  const showKind = isPlain ? undefined : along(value, (holder) => KINDS.get(holder));
  const text = showKind?.(value, name);
  return text ?? `${isPlain ? "" : `${name || "[no prototype]"} `}${showProperties(value)}`;
}

function showError(value: object): string {
  const stack = dataOf(value, "stack") || stackOf(value) || dataOf(value, "message");
  const properties = showProperties(value);
  const cause = describe(value, "cause")?.value as unknown;
  return `${show(stack, false)}${properties === "{}" ? "" : ` ${properties}`}${
    cause === undefined ? "" : `\n[cause]: ${show(cause)}`
  }`;
}

function showBytes(): ShowKind {
  const lengthOf = native(getPrototypeOf(Uint8Array.prototype) as object, "length");
  return (value, name) => {
    const length = lengthOf(value);
    if (typeof length !== "number") return undefined;
    return `${name}(${length}) ${showList(length, (at) => show((value as Uint8Array)[at]))}`;
  };
}

/**
 * By a method that makes text; `probe` fails for what only claims to be of the kind. Not for
 * objects with more than `lastIndex` of their own, which such a method may ask.
 */
function showText(prototype: object, key: string, probe: string): ShowKind {
  const textOf = native(prototype, key);
  const probed = native(prototype, probe);
  return (value) => {
    if (probed(value) === undefined || ownKeys(value).length > 1) return undefined;
    const text = textOf(value);
    return typeof text === "string" ? text : "Invalid Date";
  };
}

function showEntries(prototype: object, hasKeys: boolean): ShowKind {
  const each = native(prototype, "forEach");
  return (value, name) => {
    const entries = gather("{", "}", (add) => {
      each(value, (item: unknown, key: unknown) =>
        add(() => (hasKeys ? `${show(key)} => ` : "") + show(item)),
      );
    });
    return `${name} ${entries}`;
  };
}

function showFields(prototype: object, keys: readonly string[]): ShowKind {
  const fields = keys.map((key) => ({ key, read: native(prototype, key) }));
  return (value, name) => {
    const shown = gather("{", "}", (add) => {
      for (const { key, read } of fields) add(() => `${key}: ${show(read(value))}`);
    });
    return `${name} ${shown}`;
  };
}

function showList(length: number, item: (at: number) => string): string {
  return gather(
    "[",
    "]",
    (add) => {
      for (let at = 0; at < length && at < ITEMS_MAX; at += 1) add(() => item(at));
    },
    length,
  );
}

function showProperties(value: object): string {
  const keys = ownKeys(value).slice(0, KEYS_MAX);
  const visible = keys.filter((key) => describe(value, key)?.enumerable);
  return gather("{", "}", (add) => {
    for (const key of visible) {
      const isWord = typeof key === "string" && /^[\w$]+$/.test(key);
      add(() => `${isWord ? key : show(key)}: ${showProperty(value, key)}`);
    }
  });
}

function showProperty(value: object, key: PropertyKey): string {
  const descriptor = describe(value, key);
  if (!descriptor) return "<empty>";
  return descriptor.get || descriptor.set ? "[Getter]" : show(descriptor.value);
}

/** Items within the budget: on one line if they fit, else one a line. */
function gather(
  before: string,
  after: string,
  fill: (add: (make: () => string) => void) => void,
  count = 0,
): string {
  const parts: string[] = [];
  let offered = 0;
  fill((make) => {
    offered += 1;
    if (parts.length < ITEMS_MAX && charactersLeft > 0) parts.push(make());
  });
  const hidden = Math.max(count, offered) - parts.length;
  if (hidden > 0) parts.push(`… ${hidden} more`);
  const line = parts.join(", ");
  if (line === "") return before + after;
  if (line.length <= LINE_COLUMNS && !line.includes("\n")) return `${before} ${line} ${after}`;
  return `${before}\n  ${parts.join(",\n").replaceAll("\n", "\n  ")}\n${after}`;
}

/** `%s %d %i %f %j %o %O %c %%` of a first argument that is text, then the rest. */
function join(args: readonly unknown[]): string {
  const rest = args.slice(1);
  let [first] = args;
  if (typeof first === "string" && rest.length > 0) {
    first = clip(first).replaceAll(/%([sdifjoOc%])/g, (mark: string, kind: string) => {
      if (kind === "%") return kind;
      if (rest.length === 0) return mark;
      const value = rest.shift();
      if (kind === "c") return "";
      if (!"dif".includes(kind)) return show(value, kind !== "s");
      const number = typeof value === "object" ? Number.NaN : Number(value);
      return `${kind === "i" ? Math.trunc(number) : number}`;
    });
  }
  return [first, ...rest].map((value) => show(value, false)).join(" ");
}

/** Text of one console call, about 16,000 characters at most. Never throws (C2). */
export function formatConsole(args: readonly unknown[]): string {
  if (args.length === 0) return "";
  // A trap that logs while it is looked at would otherwise double the work at every level.
  if (isBusy) return "[logged while being logged]";
  isBusy = true;
  objectsLeft = OBJECTS_MAX;
  charactersLeft = TEXT_MAX;
  open = [];
  try {
    const text = join(args);
    return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}… (cut)` : text;
  } catch {
    return "[not printable]";
  } finally {
    isBusy = false;
  }
}

function labelOf(label: unknown): string {
  return formatConsole([label ?? "default"]).slice(0, NAME_MAX);
}

/** The methods of `console` that functions use; others stay as the runtime has them. */
export type TenantConsole = Readonly<Record<string, (...args: unknown[]) => void>>;

/**
 * A console that hands lines to `write`. One per isolate: groups, counts and timers are shared by
 * the calls in it, as a console's are.
 *
 * @param now milliseconds; for `time`.
 */
export function createConsole(
  write: (level: LogLevel, text: string) => void,
  now: () => number,
): TenantConsole {
  const counts = new Map<string, number>();
  const timers = new Map<string, number>();
  let indent = "";
  const put = (level: LogLevel, text: string): void => {
    write(level, indent === "" ? text : indent + text.replaceAll("\n", `\n${indent}`));
  };
  const at =
    (level: LogLevel) =>
    (...args: unknown[]): void =>
      put(level, formatConsole(args));
  const elapsed = (label: unknown, rest: readonly unknown[]): void => {
    const key = labelOf(label);
    const startedAtMs = timers.get(key);
    if (startedAtMs === undefined) put("warn", `Timer '${key}' does not exist`);
    else put("info", `${key}: ${now() - startedAtMs}ms ${formatConsole(rest)}`.trimEnd());
  };
  const group = (...args: unknown[]): void => {
    if (args.length > 0) put("info", formatConsole(args));
    if (indent.length < 16) indent += "  ";
  };
  return {
    log: at("info"),
    info: at("info"),
    debug: at("debug"),
    warn: at("warn"),
    error: at("error"),
    dirxml: at("info"),
    table: at("info"),
    dir: (value) => put("info", formatConsole([value])),
    trace: (...args) => {
      const [, , ...frames] = formatConsole([new TypeError()]).split("\n");
      put("debug", [`Trace: ${formatConsole(args)}`, ...frames].join("\n"));
    },
    assert: (isTrue, ...args) => {
      if (!isTrue)
        put("error", `Assertion failed${args.length > 0 ? ": " : ""}${formatConsole(args)}`);
    },
    count: (label) => {
      const key = labelOf(label);
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      put("info", `${key}: ${count}`);
    },
    countReset: (label) => void counts.delete(labelOf(label)),
    time: (label) => void timers.set(labelOf(label), now()),
    timeLog: (label, ...rest) => elapsed(label, rest),
    timeEnd: (label) => {
      elapsed(label, []);
      timers.delete(labelOf(label));
    },
    group,
    groupCollapsed: group,
    groupEnd: () => {
      indent = indent.slice(2);
    },
  };
}
