/** Every case about calls that does not concern processes. */
import type { CaseGroup } from "./case.ts";
import { contentTypeCases } from "./content-types.ts";
import { edgeCases } from "./edge.ts";
import { formCases } from "./forms.ts";
import { subCallCases } from "./sub-calls.ts";
import { deadlineCases } from "./deadlines.ts";
import { encodingCases } from "./encodings.ts";
import { failureCases } from "./failures.ts";
import { reuseCases } from "./reuse.ts";
import { storeOctetCases } from "./store-octets.ts";
import { storeOperationCases } from "./store-operations.ts";
import { storeSharingCases } from "./store-sharing.ts";
import { streamCases } from "./streams.ts";
import { telemetryCases } from "./telemetry.ts";

export const callCases: readonly CaseGroup[] = [
  formCases,
  contentTypeCases,
  edgeCases,
  subCallCases,
  deadlineCases,
  encodingCases,
  failureCases,
  reuseCases,
  streamCases,
  telemetryCases,
];

/** What holds of the store in every form. */
export const storeCases: readonly CaseGroup[] = [
  storeOperationCases,
  storeOctetCases,
  storeSharingCases,
];
