/**
 * workerd's untyped errors, told apart by their text in this one place. Texts of release
 * 1.20261117; a test against the pinned workerd fails when one of them changes.
 */
import { type ErrorCode, IsolaError } from "../contract/index.ts";

interface KnownText {
  readonly text: string;
  readonly code: ErrorCode;
  readonly found: string;
}

const KNOWN: readonly KnownText[] = [
  {
    text: "code had hung",
    code: "FUNCTION_ERROR",
    found: "it can never answer: nothing is left that could settle its promise",
  },
  {
    text: "could not be cloned",
    code: "RESULT_INVALID",
    found: "a result that cannot be cloned",
  },
  {
    text: "Could not serialize",
    code: "RESULT_INVALID",
    found: "a result that cannot be cloned",
  },
  {
    text: "does not support serialization",
    code: "RESULT_INVALID",
    found: "a result that cannot be cloned",
  },
  {
    text: "limited to 32MiB",
    code: "BODY_TOO_LARGE",
    found: "an input or a result over the limit of a call between functions",
  },
  { text: "internal error", code: "FUNCTION_ERROR", found: "its isolate ended itself" },
];

/** What a thrown error of a call into an isolate means. */
export function classifyRuntimeError(thrown: unknown): IsolaError {
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  const known = KNOWN.find(({ text }) => message.includes(text));
  return new IsolaError(
    known?.code ?? "FUNCTION_ERROR",
    { attempted: "run the function", found: known?.found ?? message },
    { cause: thrown },
  );
}
