import type { FunctionForm } from "../../contract/index.ts";

/** A workflow's form as runs have it. */
export function toWorkflowForm(form: FunctionForm): "dag" | "code" {
  return form === "workflow" ? "code" : "dag";
}
