/**
 * Breadcrumbs: what a cell's standard output says of tenant code (contract/control.ts). Pure.
 *
 * A line that begins with CRUMB_START and a mark holds records; everything else is text for the
 * process log. What stands under the isolates' mark may come from tenant code: of it only words
 * that a call says of itself are read, and a call is known by an id that no other tenant learns.
 */
import { CRUMB_START, type LogLevel, isolateMark } from "../contract/index.ts";

export type Crumb =
  | { readonly kind: "entered"; readonly callId: string; readonly key: string; blockMs?: number }
  | { readonly kind: "left"; readonly callIds: readonly string[] }
  | {
      readonly kind: "console";
      readonly callId: string;
      readonly level: LogLevel;
      readonly atMs: number;
      readonly text: string;
    }
  | { readonly kind: "evaluating"; readonly key: string; blockMs?: number }
  | { readonly kind: "evaluated"; readonly key: string | undefined }
  /** The call has answered, or is about to, with promises of `waitUntil` open; or they are done. */
  | { readonly kind: "background"; readonly callId: string; readonly open: boolean }
  /** Tenant code begins or gave the thread back: it says so when its last word is a while ago. */
  | { readonly kind: "yielded"; readonly callId?: string }
  /** A timer of an isolate fired: the event loop turned. */
  | { readonly kind: "turned" };

const LEVELS: readonly string[] = ["debug", "info", "warn", "error"] satisfies LogLevel[];
const RECORDS = "ELOIJWXPT";

/** What the shim says: one record, about one call. */
const OF_ISOLATE = /^(?:T$|[PWX] \S+$|O \S+ )/;

/** Records of a line that the cell wrote under its own mark, or an isolate under its part of it. */
export function readCrumbs(line: string, mark: string): readonly Crumb[] | undefined {
  if (!line.startsWith(CRUMB_START)) return undefined;
  const own = textBehind(line, mark);
  if (own !== undefined) return parseCrumbs(own);
  const foreign = textBehind(line, isolateMark(mark));
  if (foreign === undefined) return undefined;
  return OF_ISOLATE.test(foreign) ? parseCrumbs(foreign).slice(0, 1) : [];
}

function textBehind(line: string, mark: string): string | undefined {
  const begin = CRUMB_START.length + mark.length;
  if (line[begin] !== " " || !line.startsWith(mark, CRUMB_START.length)) return undefined;
  return line.slice(begin + 1);
}

/** Records of one line, in order. Leaves ride before or after other records of the same line. */
export function parseCrumbs(text: string): readonly Crumb[] {
  // Every call writes one line and few hold anything else: no pattern is tried without need.
  const mayHold = text.startsWith("O ") || text.includes(" O ");
  // The text of a console line may hold anything: it is the last record of its line.
  const console = mayHold ? /(?:^| )O (\S+) (\S+) (\d+) (.*)$/s.exec(text) : null;
  const head = console === null ? text : text.slice(0, console.index);
  const crumbs = parseRecords(head.split(" "));
  if (console === null) return crumbs;
  const [, callId = "", level = "", atMs = "0", quoted = ""] = console;
  if (!LEVELS.includes(level)) return crumbs;
  const line = { callId, level: level as LogLevel, atMs: Number(atMs), text: unquote(quoted) };
  return [...crumbs, { kind: "console", ...line }];
}

function unquote(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : text;
  } catch {
    return text;
  }
}

function parseRecords(tokens: readonly string[]): Crumb[] {
  const crumbs: Crumb[] = [];
  let at = 0;
  while (at < tokens.length) {
    let end = at + 1;
    while (end < tokens.length && !isRecord(tokens[end] ?? "")) end += 1;
    const crumb = parseRecord(tokens[at] ?? "", tokens.slice(at + 1, end));
    if (crumb) crumbs.push(crumb);
    at = end;
  }
  return crumbs;
}

function isRecord(token: string): boolean {
  return token.length === 1 && RECORDS.includes(token);
}

function parseRecord(record: string, fields: readonly string[]): Crumb | undefined {
  const [first, second, third] = fields;
  switch (record) {
    case "E":
      if (first === undefined || second === undefined) return undefined;
      return { kind: "entered", callId: first, key: second, ...blockOf(third) };
    case "L":
      return { kind: "left", callIds: fields };
    case "I":
      return first === undefined
        ? undefined
        : { kind: "evaluating", key: first, ...blockOf(second) };
    case "J":
      return { kind: "evaluated", key: first };
    case "W":
    case "X":
      if (first === undefined) return undefined;
      return { kind: "background", callId: first, open: record === "W" };
    case "P":
      return { kind: "yielded", ...(first === undefined ? {} : { callId: first }) };
    case "T":
      return { kind: "turned" };
    default:
      return undefined;
  }
}

function blockOf(text: string | undefined): { blockMs?: number } {
  const blockMs = Number(text);
  return Number.isSafeInteger(blockMs) && blockMs > 0 ? { blockMs } : {};
}
