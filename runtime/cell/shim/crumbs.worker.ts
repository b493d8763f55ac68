/**
 * Breadcrumbs of this isolate (contract/control.ts). The mark is text in this module and leaves
 * it only through stdout: no export, no environment and no function's source holds it.
 */
import { CRUMB_START, type LogLevel } from "../../contract/index.ts";
import { stringify, writeLine } from "./natives.worker.ts";

/** Replaced by the cell before the isolate is made; empty where nobody reads stdout. */
const MARK: string = "__ISOLA_MARK__";
/** `namespace/function@version`, likewise. */
const KEY = "__ISOLA_KEY__";

const PREFIX = `${CRUMB_START}${MARK} `;
const isRead = MARK !== "";

export function crumbEnter(callId: string, maxBlockMs: number): void {
  if (isRead) writeLine(`${PREFIX}E ${callId} ${KEY} ${maxBlockMs}`);
}

/** The call has answered, but a promise given to `waitUntil` is open: it stays entered. */
export function crumbBackground(callId: string, open: boolean): void {
  if (isRead) writeLine(`${PREFIX}${open ? "W" : "X"} ${callId} ${KEY}`);
}

/** A console line, for the case that the cell dies before the call answers. */
export function crumbLine(callId: string, level: LogLevel, atMs: number, text: string): void {
  if (isRead) writeLine(`${PREFIX}O ${callId} ${level} ${atMs} ${stringify(text)}`);
}
