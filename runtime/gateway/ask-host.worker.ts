/** Questions to the host: start, stop and restart cells. */
import { IsolaError, parseErrorData } from "../contract/index.ts";
import type { GatewayBindings } from "./bindings.worker.ts";

/**
 * Posts JSON to the host and answers its JSON, or undefined for an empty answer.
 *
 * @throws IsolaError what the host says, `BACKEND_UNAVAILABLE` where there is no host.
 */
export async function askHost(
  state: { readonly bindings: GatewayBindings },
  path: string,
  message: unknown,
  attempted: string,
): Promise<unknown> {
  const { host } = state.bindings;
  if (!host) {
    throw new IsolaError("BACKEND_UNAVAILABLE", {
      attempted,
      found: "a platform without processes of its own",
      required: "isola start",
    });
  }
  let response: Response;
  try {
    response = await host.fetch(`http://host${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(message),
    });
  } catch (thrown) {
    const found = "no answer of the host process";
    throw new IsolaError("UPSTREAM_FAILED", { attempted, found }, { cause: thrown });
  }
  const text = await response.text();
  const body = parseJson(text);
  if (response.ok) return body;
  const data = parseErrorData(body);
  if (data) throw IsolaError.fromData(data);
  throw new IsolaError("INTERNAL", { attempted, found: `status ${response.status} of the host` });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
