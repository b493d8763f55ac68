/**
 * The cell's own lines on stdout: breadcrumbs for the watchdog, and what an operator should read.
 */
import { CRUMB_START } from "../contract/index.ts";

/** Nothing is written where nobody reads stdout (an empty mark). */
export function writeCrumb(mark: string, text: string): void {
  if (mark !== "") console.log(`${CRUMB_START}${mark} ${text}`);
}

/** A line for the process's log. */
export function warn(text: string): void {
  console.warn(text);
}
