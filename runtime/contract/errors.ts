/**
 * The error catalogue: every failure a user, an operator or another program can meet.
 *
 * Errors cross process and isolate boundaries as plain data (`ErrorData`) and are matched by
 * `code`, never by message text or `instanceof`. A message has four parts: what was attempted,
 * what was found, what is required, what to do.
 */
import { type ErrorEntry, entry } from "./error-entry.ts";
import { STORE_ERRORS } from "./store-errors.ts";
import { WORKFLOW_ERRORS } from "./workflow-errors.ts";

export const ERRORS = {
  INPUT_MALFORMED: entry(
    400,
    false,
    "caller",
    "The request body or query cannot be parsed.",
    "Send what the content type says.",
  ),
  INPUT_INVALID: entry(
    400,
    false,
    "caller",
    "The input is refused by the function's own validator.",
    "Send the shape that the message names.",
  ),
  NAME_INVALID: entry(
    400,
    false,
    "caller",
    "A name is not a DNS label.",
    "Use a-z, 0-9 and inner hyphens, at most 63 characters.",
  ),
  REQUEST_INVALID: entry(
    400,
    false,
    "caller",
    "A field of an admin request is missing, unknown or out of bounds.",
    "Correct the field that the message names.",
  ),
  CONFIG_INVALID: entry(
    422,
    false,
    "caller",
    "The function's configuration is refused.",
    "Correct the option that the message names.",
  ),
  TOKEN_MISSING: entry(
    401,
    false,
    "caller",
    "No bearer token came with a request that needs one.",
    "Send Authorization: Bearer <token>.",
  ),
  TOKEN_INVALID: entry(
    401,
    false,
    "caller",
    "The bearer token is unknown or revoked.",
    "Use a live token of this namespace.",
  ),
  ROLE_TOO_LOW: entry(
    403,
    false,
    "caller",
    "The token's role does not allow this operation.",
    "Use a token with the role that the message names.",
  ),
  INTERNAL_ONLY: entry(
    403,
    false,
    "caller",
    "The function answers only other functions and workflows.",
    "Call it with ctx.call, or set auth to public or token.",
  ),
  ORIGIN_REFUSED: entry(
    403,
    false,
    "caller",
    "The admin API was called by a page of another origin, or under a name that is not its own.",
    "Use the address that isola start prints.",
  ),
  FUNCTION_NOT_FOUND: entry(
    404,
    false,
    "caller",
    "No function of that name is live in that namespace.",
    "isola list shows what is deployed.",
  ),
  VERSION_NOT_FOUND: entry(
    404,
    false,
    "caller",
    "The function has no such version.",
    "isola versions <function> lists them.",
  ),
  NAMESPACE_NOT_FOUND: entry(
    404,
    false,
    "caller",
    "No such namespace, or the token may not see it.",
    "isola namespace list shows yours.",
  ),
  ROUTE_NOT_FOUND: entry(
    404,
    false,
    "caller",
    "No route of the platform has this path.",
    "See the routes in README.",
  ),
  NOT_FOUND: entry(
    404,
    false,
    "caller",
    "The named secret, token or cell does not exist.",
    "List them first.",
  ),
  METHOD_NOT_ALLOWED: entry(
    405,
    false,
    "caller",
    "The route does not take this method.",
    "Use a method from the Allow header.",
  ),
  NOT_ACCEPTABLE: entry(
    406,
    false,
    "function",
    "The result cannot be carried in the form that the caller accepts.",
    "Accept application/msgpack, or return plain JSON values.",
  ),
  ALREADY_EXISTS: entry(
    409,
    false,
    "caller",
    "Something of that name exists already.",
    "Choose another name, or remove it first.",
  ),
  CONFLICT: entry(
    409,
    true,
    "caller",
    "The state changed in between, or does not allow the operation.",
    "Read the state and decide again.",
  ),
  BODY_TOO_LARGE: entry(
    413,
    false,
    "caller",
    "The request body is larger than the limit.",
    "Send less, or stream to an HTTP function.",
  ),
  BUNDLE_TOO_LARGE: entry(
    413,
    false,
    "caller",
    "The function's bundle is larger than the limit.",
    "Leave dependencies out, or load data at run time.",
  ),
  MEDIA_UNSUPPORTED: entry(
    415,
    false,
    "caller",
    "The content type is none that a data function takes.",
    "Send JSON, MessagePack, octets, text or a form.",
  ),
  BUILD_FAILED: entry(
    422,
    false,
    "caller",
    "The bundle cannot be built.",
    "Correct the file, line and column that the message names.",
  ),
  LOAD_FAILED: entry(
    422,
    false,
    "caller",
    "The bundle was built but does not load in an isolate.",
    "Correct what the message quotes; it is thrown while the module is evaluated.",
  ),
  EXPORT_INVALID: entry(
    422,
    false,
    "caller",
    "The module's default export is no function form.",
    "Export a function, an object with fetch, or a WorkerEntrypoint class.",
  ),
  PROBE_TIMEOUT: entry(
    422,
    false,
    "caller",
    "The module did not finish loading within the probe's time.",
    "Do not block or wait at the top level of a module.",
  ),
  QUOTA_EXCEEDED: entry(
    429,
    false,
    "caller",
    "A quota of the namespace does not allow this.",
    "Remove something, or ask the operator for more.",
  ),
  RATE_LIMITED: entry(
    429,
    true,
    "caller",
    "More calls than the namespace or function allows.",
    "Wait for Retry-After.",
  ),
  QUEUE_FULL: entry(
    429,
    true,
    "platform",
    "The bounded queue in front of the cells is full for this namespace.",
    "Wait for Retry-After.",
  ),
  FUNCTION_ERROR: entry(
    500,
    false,
    "function",
    "The function threw.",
    "isola logs <function> shows message and stack.",
  ),
  RESULT_INVALID: entry(
    500,
    false,
    "function",
    "The function returned something that is no value.",
    "Return structured-clonable data without functions and streams.",
  ),
  INTERNAL: entry(
    500,
    false,
    "platform",
    "Isola broke one of its own invariants.",
    "Report it with the call id and the process log.",
  ),
  CELL_LOST: entry(
    502,
    true,
    "platform",
    "The process that ran the call died.",
    "Repeat the call if the function may run twice.",
  ),
  INSTANCE_LOST: entry(
    502,
    true,
    "platform",
    "The instance that ran the call died.",
    "Repeat the call if the function may run twice.",
  ),
  MAX_BLOCK: entry(
    502,
    false,
    "function",
    "The function held the thread longer than maxBlockMs.",
    "Yield with await, split the work, or raise maxBlockMs in a dedicated cell.",
  ),
  MEMORY_LIMIT: entry(
    502,
    false,
    "function",
    "The function used more memory than its cell has.",
    "Use less memory, or give the namespace cells of its own.",
  ),
  EGRESS_DENIED: entry(
    502,
    false,
    "function",
    "The function called an address that its egress rules do not allow.",
    "Add the host to egress; private addresses need --allow-private.",
  ),
  UPSTREAM_FAILED: entry(
    502,
    true,
    "platform",
    "The called address could not be reached.",
    "Check the address; repeat later.",
  ),
  CELL_RESTARTING: entry(
    503,
    true,
    "platform",
    "No cell of the group is up at the moment.",
    "Wait for Retry-After.",
  ),
  CAPACITY: entry(
    503,
    true,
    "platform",
    "The platform has no room for the call within its waiting time.",
    "Wait for Retry-After, or add cells.",
  ),
  DRAINING: entry(
    503,
    true,
    "platform",
    "The platform is shutting down.",
    "Repeat against the restarted platform.",
  ),
  FUNCTION_QUARANTINED: entry(
    503,
    false,
    "function",
    "The function was convicted repeatedly of blocking or killing its cell.",
    "Deploy a corrected version, or isola release <function>.",
  ),
  BACKEND_UNAVAILABLE: entry(
    422,
    false,
    "operator",
    "This system does not have the backend that the function asks for.",
    "isola doctor says what is missing.",
  ),
  TIMEOUT: entry(
    504,
    true,
    "function",
    "The call did not end within its deadline.",
    "Raise timeoutMs, or do less in one call.",
  ),
  CALL_LOOP: entry(
    508,
    false,
    "function",
    "A function appears too often in its own chain of calls.",
    "Break the cycle between the functions that the message names.",
  ),
  CALL_DEPTH: entry(
    508,
    false,
    "function",
    "A chain of calls is deeper than the limit.",
    "Flatten the composition, or use a workflow.",
  ),
  DISK_FULL: entry(
    507,
    true,
    "operator",
    "The disk that holds the data directory is full.",
    "Free space, then repeat; nothing was changed.",
  ),
  DATA_CORRUPT: entry(
    500,
    false,
    "operator",
    "A file of the data directory is damaged.",
    "Restore the named file from a backup, or delete the data directory to start anew.",
  ),
  DATA_IN_USE: entry(
    409,
    false,
    "operator",
    "Another platform runs on this data directory.",
    "Stop it, or pass another --data.",
  ),
  DATA_VERSION: entry(
    409,
    false,
    "operator",
    "The data directory was written by a release that this one cannot read.",
    "Use the release that the message names.",
  ),
  PORT_IN_USE: entry(
    409,
    false,
    "operator",
    "A port that Isola listens on is taken.",
    "Pass another --port or --admin-port, or stop what holds it.",
  ),
  START_FAILED: entry(
    500,
    false,
    "operator",
    "A process of the platform did not come up.",
    "Read the log that the message names.",
  ),
  UNREACHABLE: entry(
    503,
    true,
    "operator",
    "The platform does not answer at that address.",
    "isola start, or pass --url.",
  ),
  ...STORE_ERRORS,
  ...WORKFLOW_ERRORS,
  USAGE: entry(400, false, "caller", "The command line is wrong.", "isola help COMMAND."),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** The four parts of a message; `fix` defaults to the catalogue's. */
export interface ErrorParts {
  readonly attempted: string;
  readonly found: string;
  readonly required?: string;
  readonly fix?: string;
  /** Seconds for a `Retry-After` header; set for 429 and 503. */
  readonly retryAfterSeconds?: number;
  /** Position in a source file, where there is one. */
  readonly location?: { file: string; line: number; column: number };
}

/** An error as it crosses a boundary. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly parts: ErrorParts;
}

/** An error of the catalogue. Compare `code`, not the class: instances do not cross boundaries. */
export class IsolaError extends Error {
  override readonly name = "IsolaError";
  readonly code: ErrorCode;
  readonly parts: ErrorParts;

  constructor(code: ErrorCode, parts: ErrorParts, options?: ErrorOptions) {
    super(renderMessage(code, parts), options);
    this.code = code;
    this.parts = parts;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  toData(): ErrorData {
    return { code: this.code, message: this.message, retryable: this.retryable, parts: this.parts };
  }

  static fromData(data: ErrorData): IsolaError {
    return new IsolaError(data.code, data.parts);
  }
}

function renderMessage(code: ErrorCode, parts: ErrorParts): string {
  const required = parts.required === undefined ? "" : `; required: ${parts.required}`;
  const fix = parts.fix ?? ERRORS[code].fix;
  return `cannot ${parts.attempted}: found ${parts.found}${required}. ${fix}`;
}

export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === "string" && Object.hasOwn(ERRORS, text);
}

/** Rebuilds what came over a boundary; undefined if it is no error of the catalogue. */
export function parseErrorData(value: unknown): ErrorData | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const data = value as Partial<ErrorData>;
  if (!isErrorCode(data.code) || typeof data.message !== "string") return undefined;
  if (typeof data.parts !== "object" || data.parts === null) return undefined;
  return {
    code: data.code,
    message: data.message,
    retryable: ERRORS[data.code].retryable,
    parts: data.parts,
  };
}

/** Any thrown thing as an error of the catalogue; what is not one becomes `INTERNAL`. */
export function toIsolaError(thrown: unknown, attempted: string): IsolaError {
  if (thrown instanceof IsolaError) return thrown;
  const found = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new IsolaError("INTERNAL", { attempted, found }, { cause: thrown });
}

/** What a function threw, as far as it can be told. */
export interface ThrownData {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
}
