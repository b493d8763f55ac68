import type { LogLine } from "../../contract/index.ts";

const pad = (part: number, width = 2): string => String(part).padStart(width, "0");

/** `12:03:04.005 hello v3 warn  text`; further lines of the text are set in. */
export function logText(line: LogLine): string {
  const at = new Date(line.atMs);
  const time = [pad(at.getHours()), pad(at.getMinutes()), pad(at.getSeconds())].join(":");
  const head = `${time}.${pad(at.getMilliseconds(), 3)} ${line.function} v${String(line.version)}`;
  return `${head} ${line.level.padEnd(5)} ${line.text.trimEnd().replaceAll("\n", "\n    ")}`;
}
