/** The part of the error catalogue that only workflows and their runs speak. */
import { type ErrorEntry, entry } from "./error-entry.ts";

export const WORKFLOW_ERRORS = {
  PLAN_INVALID: entry(
    422,
    false,
    "caller",
    "The definition of the workflow is no plan that can run.",
    "Correct the node, edge or option that the message names.",
  ),
  PLAN_DIVERGED: entry(
    409,
    false,
    "function",
    "The definition, or the code, of a running workflow is not what it was when the run began.",
    "Make it depend on the request and on results of steps alone; restart the run.",
  ),
  HOOK_INVALID: entry(
    500,
    false,
    "function",
    "A hook of the workflow returned what it may not return.",
    "Return one of the values that the message names.",
  ),
  LOOP_LIMIT: entry(
    500,
    false,
    "function",
    "A loop of the workflow went round more often than its limit.",
    "Raise the limit of repeat, or end the loop earlier.",
  ),
  FAN_OUT_TOO_WIDE: entry(
    500,
    false,
    "function",
    "A for-each has more items than a run may have.",
    "Group the items, or invoke workflows of their own for parts of them.",
  ),
  RUN_NOT_FOUND: entry(
    404,
    false,
    "caller",
    "No such run, or it belongs to another namespace.",
    "isola runs list shows yours.",
  ),
  STEP_NOT_FOUND: entry(
    404,
    false,
    "caller",
    "The run has no such step, or has not come to it.",
    "isola runs show R lists its steps.",
  ),
  RUN_STATE: entry(
    409,
    false,
    "caller",
    "The state of the run does not allow the operation.",
    "Read the run's status and decide again.",
  ),
  KEY_REUSED: entry(
    422,
    false,
    "caller",
    "The idempotency key was used for another request.",
    "Use a new key for each request, and the same one only to repeat it.",
  ),
  CALLBACK_DENIED: entry(
    403,
    false,
    "caller",
    "The function's egress rules do not allow the URL that was to be told of the result.",
    "Name a public address that egress allows; private ones need --allow-private.",
  ),
  ROLLBACK_MISSING: entry(
    500,
    false,
    "function",
    "A step of the journal has to be rolled back, and the code no longer says how.",
    "Keep the rollback of steps that open runs have made.",
  ),
} as const satisfies Record<string, ErrorEntry>;
