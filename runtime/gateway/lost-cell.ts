/** workerd's errors of a broken connection to a cell, told apart by text in this one place. */

/** `unsent`: nothing of the call reached a cell; `sent`: it may have run. */
export type LostKind = "unsent" | "sent";

const UNSENT = ["connect()", "Connection refused", "No such file or directory"];

export function classifyLost(thrown: unknown): LostKind {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return UNSENT.some((text) => message.includes(text)) ? "unsent" : "sent";
}
