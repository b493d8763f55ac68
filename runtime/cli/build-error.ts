/** A failed build as one error of the catalogue: position first, then the code around it. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { BuildFailure, Location, Message } from "esbuild";
import { IsolaError } from "../contract/index.ts";
import { shownPath } from "./shown-path.ts";

const MESSAGES_SHOWN = 5;
const LINES_AROUND = 2;
const MISSING_PACKAGE = /^Could not resolve "((?:@[^/"]+\/)?[^./"][^/"]*)/;

/** @param root folder to which esbuild's paths are relative. */
export async function buildError(
  name: string,
  failure: BuildFailure,
  root: string,
): Promise<IsolaError> {
  const shown = failure.errors.slice(0, MESSAGES_SHOWN);
  const texts = await Promise.all(shown.map((message) => describe(message, root)));
  const rest = failure.errors.length - shown.length;
  if (rest > 0) texts.push(`and ${String(rest)} more`);
  const first = failure.errors[0];
  const location = first?.location ?? undefined;
  const missing = MISSING_PACKAGE.exec(first?.text ?? "")?.[1];
  return new IsolaError(
    "BUILD_FAILED",
    {
      attempted: `build function ${name}`,
      found: texts.join("\n"),
      required: missing === undefined ? "source that compiles" : "every imported package installed",
      ...(missing === undefined ? {} : { fix: `npm install ${missing}` }),
      ...(location === undefined ? {} : { location: positionOf(location, root) }),
    },
    { cause: failure },
  );
}

function positionOf(location: Location, root: string) {
  return {
    file: shownPath(resolve(root, location.file)),
    line: location.line,
    column: columnOf(location),
  };
}

/** esbuild counts bytes from 0; people and editors count characters from 1. */
function columnOf(location: Location): number {
  const before = Buffer.from(location.lineText, "utf8").subarray(0, location.column);
  return before.toString("utf8").length + 1;
}

async function describe(message: Message, root: string): Promise<string> {
  const { location } = message;
  if (location === null) return message.text;
  const { file, line, column } = positionOf(location, root);
  const source = await readFile(resolve(root, location.file), "utf8").catch(() => undefined);
  const lines = source?.split(/\r?\n/) ?? [];
  const head = `${file}:${String(line)}:${String(column)}: ${message.text}`;
  if (lines.length < line) return head;
  const marked = Buffer.from(location.lineText).subarray(location.column);
  const length = Math.max(1, marked.subarray(0, location.length).toString("utf8").length);
  return `${head}\n${codeFrame(lines, line, column, length)}`;
}

/** The lines around a position, the position underlined. Lines and columns count from 1. */
export function codeFrame(
  lines: readonly string[],
  line: number,
  column: number,
  length = 1,
): string {
  const first = Math.max(1, line - LINES_AROUND);
  const last = Math.min(lines.length, line + LINES_AROUND);
  const width = String(last).length;
  const shown: string[] = [];
  for (let number = first; number <= last; number++) {
    const text = lines[number - 1] ?? "";
    const mark = number === line ? ">" : " ";
    shown.push(`${mark} ${String(number).padStart(width)} | ${text}`.trimEnd());
    if (number !== line) continue;
    // Tabs before the position stay tabs, so that the caret stands below it.
    const gap = text.slice(0, column - 1).replaceAll(/[^\t]/g, " ");
    shown.push(`  ${" ".repeat(width)} | ${gap}${"^".repeat(length)}`);
  }
  return shown.join("\n");
}
