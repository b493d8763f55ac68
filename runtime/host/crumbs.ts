/**
 * Breadcrumbs: what a cell's standard output says of tenant code (contract/control.ts). Pure.
 *
 * A line that begins with CRUMB_START and the cell's secret mark holds records; everything else is
 * text for the process log. Tenants do not know the mark, so they cannot speak for another call.
 */
import { CRUMB_START, type LogLevel } from "../contract/index.ts";

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
  /** Tenant code gave the thread back: it says so when its last word is a while ago. */
  | { readonly kind: "yielded" };

const LEVELS: readonly string[] = ["debug", "info", "warn", "error"] satisfies LogLevel[];
const RECORD = /^[ELOIJWXP]$/;

/** The line that every call writes, and nothing else in it: read without cutting it up. */
const ENTERED = /^E (\S+) (\S+) (\d+)$/;

/** The part after start and mark, or undefined if the line is no breadcrumb. */
export function crumbText(line: string, mark: string): string | undefined {
  if (!line.startsWith(CRUMB_START) || !line.startsWith(mark, CRUMB_START.length)) return undefined;
  return line.slice(CRUMB_START.length + mark.length).trimStart();
}

/** Records of one line, in order. Leaves ride before or after other records of the same line. */
export function parseCrumbs(text: string): readonly Crumb[] {
  const entered = ENTERED.exec(text);
  if (entered) {
    const [, callId = "", key = "", blockMs] = entered;
    return [{ kind: "entered", callId, key, ...blockOf(blockMs) }];
  }
  // The text of a console line may hold anything: it is the last record of its line.
  const console = /(?:^| )O (\S+) (\S+) (\d+) (.*)$/s.exec(text);
  const head = console === null ? text : text.slice(0, console.index);
  const crumbs = parseRecords(head.split(" ").filter((token) => token !== ""));
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
    while (end < tokens.length && !RECORD.test(tokens[end] ?? "")) end += 1;
    const crumb = parseRecord(tokens[at] ?? "", tokens.slice(at + 1, end));
    if (crumb) crumbs.push(crumb);
    at = end;
  }
  return crumbs;
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
      return { kind: "yielded" };
    default:
      return undefined;
  }
}

function blockOf(text: string | undefined): { blockMs?: number } {
  const blockMs = Number(text);
  return Number.isSafeInteger(blockMs) && blockMs > 0 ? { blockMs } : {};
}
