import { relative } from "node:path";

/** A path as people see it: relative to the working directory where that is shorter. */
export function shownPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("../../") ? path : short || ".";
}
