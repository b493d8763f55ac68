/**
 * Breadcrumbs of this isolate (contract/control.ts). The mark is text in this module and leaves
 * it only through stdout: no export, no environment and no function's source holds it.
 */
import { CRUMB_START, type LogLevel } from "../../contract/index.ts";
import { now, stringify, writeLine } from "./natives.worker.ts";

/** Replaced by the cell before the isolate is made; empty where nobody reads stdout. */
const MARK: string = "__ISOLA_MARK__";
/** `namespace/function@version`, likewise. */
const KEY = "__ISOLA_KEY__";

const PREFIX = `${CRUMB_START}${MARK} `;
const isRead = MARK !== "";

/** Silence after which it is said that the thread was given back. */
const ALIVE_MS = 100;
let saidAtMs = 0;

function say(record: string): void {
  saidAtMs = now();
  writeLine(PREFIX + record);
}

export function crumbEnter(callId: string, maxBlockMs: number): void {
  if (isRead) say(`E ${callId} ${KEY} ${maxBlockMs}`);
}

/**
 * A call is about to answer. Many that woke together run one after the other without a turn of
 * the event loop, so no ping is answered in between: without this word they look like one block.
 */
export function crumbYield(): void {
  if (isRead && now() - saidAtMs >= ALIVE_MS) say("P");
}

/** The call has answered, but a promise given to `waitUntil` is open: it stays entered. */
export function crumbBackground(callId: string, open: boolean): void {
  if (isRead) writeLine(`${PREFIX}${open ? "W" : "X"} ${callId} ${KEY}`);
}

/** A console line, for the case that the cell dies before the call answers. */
export function crumbLine(callId: string, level: LogLevel, atMs: number, text: string): void {
  if (isRead) writeLine(`${PREFIX}O ${callId} ${level} ${atMs} ${stringify(text)}`);
}
