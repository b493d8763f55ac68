/**
 * Egress of the collapsed form: the same policy over the Worker's own network. What a name
 * resolves to is the runtime's business here; on Cloudflare private addresses are out of reach.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { handleEgress } from "../gateway/index.worker.ts";

const network = { fetch: (input: RequestInfo, init?: RequestInit) => fetch(input, init) };

export class OpenEgress extends WorkerEntrypoint {
  override fetch(request: Request): Promise<Response> {
    return handleEgress(request, { INTERNET: network as Fetcher, ALLOW_PRIVATE: [] });
  }
}
