/** Errors on stderr in four parts, or as JSON; and the exit status that goes with them. */
import { type ErrorCode, ERRORS, type IsolaError } from "../../contract/index.ts";

export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3 } as const;

export function exitStatusOf(code: ErrorCode): number {
  if (code === "USAGE") return EXIT.usage;
  return code === "UNREACHABLE" ? EXIT.unreachable : EXIT.failed;
}

export function renderError(error: IsolaError, options: { readonly json?: boolean } = {}): string {
  if (options.json === true) return JSON.stringify({ error: error.toData() });
  const { attempted, found, required, fix } = error.parts;
  const parts: (readonly [string, string | undefined])[] = [
    ["found:", found],
    ["required:", required],
    ["do:", fix ?? ERRORS[error.code].fix],
  ];
  const lines = parts.flatMap(([name, text]) =>
    text === undefined ? [] : [`  ${name.padEnd(10)}${indent(text)}`],
  );
  return [`isola: cannot ${attempted} (${error.code})`, ...lines].join("\n");
}

function indent(text: string): string {
  return text.trimEnd().replaceAll("\n", `\n${" ".repeat(12)}`);
}
