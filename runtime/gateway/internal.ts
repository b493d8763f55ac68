/** For tests only: the pure parts of the hot path. */
export { Admission, type AdmissionRequest, type Lease, type Ticket } from "./admission.ts";
export { CellPool, PROBATION_GROUP, SHARED_GROUP, groupOf } from "./cell-pool.ts";
export { InFlight } from "./in-flight.ts";
export { classifyLost } from "./lost-cell.ts";
export { pathOf, resolvePath } from "./resolve-call.ts";
export { Suspects } from "./suspects.ts";
export { matchesHost, parseAddress, refuseTarget } from "./egress-policy.ts";
