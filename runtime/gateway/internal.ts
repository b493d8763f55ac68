/** For tests only: the pure parts behind the index. */
export { Admission, type AdmissionRequest, type Lease, type Ticket } from "./admission.ts";
export { CallJobs } from "./call-jobs.ts";
export { CellPool, PROBATION_GROUP, SHARED_GROUP, groupOf } from "./cell-pool.ts";
export { InFlight, type InFlightCall } from "./in-flight.ts";
export { classifyLost } from "./lost-cell.ts";
export { pathOf, resolvePath } from "./resolve-call.ts";
export { ProbationRoom, TRIAL_MS } from "./probation-room.ts";
export { Suspects } from "./suspects.ts";
export { matchesHost, parseAddress, refuseTarget } from "./egress-policy.ts";
export { checkOrigin } from "./origin-check.ts";
export { parseFields, queryFlag, queryInteger } from "./request-fields.ts";
export { confidential, integer, oneOf, optional, record, text } from "./request-fields.ts";
export { Room } from "./room.ts";
export { changesToReach } from "./routing-difference.ts";
export { Spreader, appendChange } from "./spreader.ts";
export { handleCold } from "./cold-handler.ts";
export { S3Bucket } from "./s3-bucket.ts";
