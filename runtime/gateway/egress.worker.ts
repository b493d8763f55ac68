/** The egress Worker: one entrypoint, on a socket that cells alone may open. */
import { type EgressEnv, handleEgress } from "./egress-handler.worker.ts";

export default {
  fetch: (request, env) => handleEgress(request, env),
} satisfies ExportedHandler<EgressEnv>;
