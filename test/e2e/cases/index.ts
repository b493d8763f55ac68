/** Every case about calls that does not concern processes. */
import type { CaseGroup } from "./case.ts";
import { contentTypeCases } from "./content-types.ts";
import { edgeCases } from "./edge.ts";
import { formCases } from "./forms.ts";
import { subCallCases } from "./sub-calls.ts";

export const callCases: readonly CaseGroup[] = [
  formCases,
  contentTypeCases,
  edgeCases,
  subCallCases,
];
