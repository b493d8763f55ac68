/** What the collapsed form composes. */
export { Registry } from "../registry/index.worker.ts";
export { handleAdmin } from "./admin.worker.ts";
export type { GatewayBindings, GatewaySettings } from "./bindings.worker.ts";
export { handleEgress } from "./egress-handler.worker.ts";
export { gatewayOf } from "./gateway.worker.ts";
export { handlePublic } from "./public.worker.ts";
export { beginTicks } from "./schedules.worker.ts";
export { handleSupply } from "./supply.worker.ts";
