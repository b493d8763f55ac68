/**
 * Every request that tenant code sends out. The policy stands in this entrypoint's props, minted
 * by the cell when the isolate is made; the egress process enforces it, hop by hop of a redirect.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { type Egress, IsolaError, PRIVATE_PREFIX, parseErrorData } from "../contract/index.ts";
import { currentCell } from "./cell.worker.ts";

interface OutboundProps {
  readonly namespace: string;
  readonly name: string;
  readonly egress: Egress;
}

export class Outbound extends WorkerEntrypoint<unknown, OutboundProps> {
  override async fetch(request: Request): Promise<Response> {
    const cell = currentCell();
    if (!cell) throw new IsolaError("INTERNAL", { attempted: "fetch", found: "no cell" });
    const headers = new Headers(request.headers);
    for (const name of [...headers.keys()]) {
      if (name.startsWith(PRIVATE_PREFIX)) headers.delete(name);
    }
    headers.set("x-isola-target", request.url);
    headers.set("x-isola-egress", JSON.stringify(this.ctx.props.egress));
    const response = await cell.bindings.egress.fetch("http://egress/", {
      method: request.method,
      headers,
      body: request.body,
      redirect: "manual",
    });
    if (!response.headers.has("x-isola-error")) return response;
    const body = (await response.json().catch(() => undefined)) as { error?: unknown } | undefined;
    const data = parseErrorData(body?.error ?? body);
    throw data
      ? IsolaError.fromData(data)
      : new IsolaError("UPSTREAM_FAILED", {
          attempted: "fetch",
          found: `status ${response.status}`,
        });
  }
}
