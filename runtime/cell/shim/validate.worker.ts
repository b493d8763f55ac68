/** Standard Schema v1 validators of `config.input` and `config.output`. */
import { type ErrorCode, IsolaError } from "../../contract/index.ts";

interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[];
}

type Outcome = { readonly value: unknown; readonly issues?: undefined } | { issues: Issue[] };

interface StandardSchema {
  readonly "~standard": { validate(value: unknown): Outcome | Promise<Outcome> };
}

function isSchema(value: unknown): value is StandardSchema {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return false;
  const standard = (value as Partial<StandardSchema>)["~standard"];
  return typeof standard?.validate === "function";
}

/** The value as the schema returns it. Errors: `code`, naming each path. */
export async function validate(
  schema: unknown,
  value: unknown,
  code: ErrorCode,
  what: string,
): Promise<unknown> {
  if (!isSchema(schema)) return value;
  const outcome = await schema["~standard"].validate(value);
  if (!outcome.issues) return outcome.value;
  const shown = outcome.issues.slice(0, 5).map((issue) => `${pathOf(issue)}: ${issue.message}`);
  throw new IsolaError(code, {
    attempted: `accept the ${what}`,
    found: shown.join("; "),
    required: `what the function's ${what} validator asks for`,
  });
}

function pathOf(issue: Issue): string {
  const keys = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  return ["$", ...keys].join(".");
}
