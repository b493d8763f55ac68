/** The URL that is told what comes of a run: what the function may not call is refused at once. */
import { type Egress, IsolaError, type RunCallback, WORKFLOW_LIMITS } from "../contract/index.ts";
import { refuseTarget } from "./egress-policy.ts";

export const CALLBACK_HEADER = "x-callback-url";

/** Whom the caller wants to be told. Errors: `REQUEST_INVALID`, `CALLBACK_DENIED`. */
export function callbackOf(
  headers: Headers,
  name: string,
  egress: Egress,
  allowPrivate: readonly string[],
): RunCallback | undefined {
  const given = headers.get(CALLBACK_HEADER);
  if (given === null) return undefined;
  const attempted = `call ${name} with a callback`;
  const text = given.trim();
  const { callbackUrlMaxCharacters } = WORKFLOW_LIMITS;
  const url = text.length > callbackUrlMaxCharacters ? undefined : parsed(text);
  if (!url) {
    const required = `an absolute http or https URL of at most ${String(callbackUrlMaxCharacters)}`;
    throw new IsolaError("REQUEST_INVALID", {
      attempted,
      found: `the header X-Callback-Url: ${JSON.stringify(text.slice(0, 200))}`,
      required: `${required} characters, without a password`,
    });
  }
  const refusal = refuseTarget(url, egress, allowPrivate);
  if (refusal) throw new IsolaError("CALLBACK_DENIED", { attempted, ...refusal });
  return { url: url.href, egress };
}

function parsed(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isWeb = url.protocol === "http:" || url.protocol === "https:";
  return isWeb && url.username === "" && url.password === "" ? url : undefined;
}
