/**
 * What this isolate says to the watchdog (contract/control.ts). Tenant code may find a way to
 * write the same, so it counts little there: who is in the cell is said by the cell itself.
 */
import { CRUMB_START, type LogLevel } from "../../contract/index.ts";
import { now, stringify, writeLine } from "./natives.worker.ts";

/** Replaced by the cell before the isolate is made; empty where nobody reads stdout. */
const MARK: string = "__ISOLA_MARK__";

const PREFIX = `${CRUMB_START}${MARK} `;
const isRead = MARK !== "";

/** Silence after which it is said that the thread was given back. */
const ALIVE_MS = 100;
let saidAtMs = 0;

/**
 * A call begins, or is about to answer. Many that came or woke together run one after the other
 * without a turn of the event loop, so no ping is answered in between: without this word they look
 * like one block.
 */
export function crumbAlive(callId: string): void {
  if (isRead && isSilent()) writeLine(`${PREFIX}P ${callId}`);
}

/** A timer fired: many that fire together look like one block, too. */
export function crumbTurn(): void {
  if (isRead && isSilent()) writeLine(`${PREFIX}T`);
}

/** True after a silence, which it ends. */
function isSilent(): boolean {
  const nowMs = now();
  if (nowMs - saidAtMs < ALIVE_MS) return false;
  saidAtMs = nowMs;
  return true;
}

/** The call has answered, but a promise given to `waitUntil` is open: it stays entered. */
export function crumbBackground(callId: string, open: boolean): void {
  if (isRead) writeLine(`${PREFIX}${open ? "W" : "X"} ${callId}`);
}

/** A console line, for the case that the cell dies before the call answers. */
export function crumbLine(callId: string, level: LogLevel, atMs: number, text: string): void {
  if (isRead) writeLine(`${PREFIX}O ${callId} ${level} ${atMs} ${stringify(text)}`);
}
