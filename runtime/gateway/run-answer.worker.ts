/** What came of a run, as an answer: of `/runs/<id>`, and of a callback. */
import { IsolaError, PUBLIC_HEADERS, type RunFound, isErrorCode } from "../contract/index.ts";
import { errorResponse } from "./error-response.ts";

export const RUN_ID_HEADER = "x-run-id";

/** The function's answer; 202 while there is none. @throws IsolaError what the run failed with. */
export function answerRun(found: RunFound, body: Uint8Array): Response {
  const { id, status, output, error } = found;
  const names = { [PUBLIC_HEADERS.callId]: id, [RUN_ID_HEADER]: id };
  if (output) {
    const headers = new Headers(output.headers.map(([name, value]) => [name, value]));
    for (const [name, value] of Object.entries(names)) headers.set(name, value);
    const isEmpty = [204, 205, 304].includes(output.status);
    const bytes = isEmpty ? null : (body as Uint8Array<ArrayBuffer>);
    return new Response(bytes, { status: output.status, headers });
  }
  if (error) return errorResponse(failureOf(found), { callId: id, headers: names });
  if (status !== "terminated") return new Response(null, { status: 202, headers: pending(id) });
  throw new IsolaError("RUN_STATE", { attempted: `read the run ${id}`, found: "terminated" });
}

/** Where what comes of a run will be. */
export function pending(id: string): Record<string, string> {
  return {
    [RUN_ID_HEADER]: id,
    [PUBLIC_HEADERS.callId]: id,
    location: `/runs/${id}`,
    "retry-after": "1",
    "cache-control": "no-store",
  };
}

/** A function's own words are in its logs (INTERFACE §5). */
export function failureOf(run: RunFound): IsolaError {
  const { code, message = "no reason", step } = run.error ?? {};
  const known = isErrorCode(code) ? code : "FUNCTION_ERROR";
  const where = step === undefined || run.version === undefined ? "" : ` in the step ${step}`;
  const found = known === "FUNCTION_ERROR" ? `an error inside of it${where}` : message + where;
  return new IsolaError(known, { attempted: `run ${run.function} (run ${run.id})`, found });
}
