/** Which function a request means, by its path or its host (INTERFACE §2 and §5). Pure. */
import { type CallTarget, IsolaError, parseHostTarget, parseTarget } from "../contract/index.ts";

export interface ResolvedPath {
  readonly target: CallTarget;
  /** Path as the function sees it, with the query. */
  readonly path: string;
  /** What was taken off in front of it; empty for host routing. */
  readonly prefix: string;
}

const PREFIX = "/function/";

/** The function at whose own host the request came. */
export function hostTarget(host: string): CallTarget | undefined {
  return /\.localhost/i.test(host) ? parseHostTarget(host) : undefined;
}

/**
 * @param path path and query of the request, beginning with `/`.
 * @throws IsolaError `NAME_INVALID`, `ROUTE_NOT_FOUND`.
 */
export function resolvePath(host: string, path: string): ResolvedPath {
  const byHost = hostTarget(host);
  if (byHost) return { target: byHost, path, prefix: "" };
  if (!path.startsWith(PREFIX)) throw noRoute(path);
  const end = path.slice(PREFIX.length).search(/[/?]/);
  const segment =
    end < 0 ? path.slice(PREFIX.length) : path.slice(PREFIX.length, PREFIX.length + end);
  const target = parseTarget(segment);
  if (!target) {
    throw new IsolaError("NAME_INVALID", {
      attempted: "find the function to call",
      found: JSON.stringify(segment.slice(0, 100)),
      required: "<name> or <name>.<namespace>, each a DNS label",
    });
  }
  const rest = end < 0 ? "" : path.slice(PREFIX.length + end);
  return { target, path: rest.startsWith("/") ? rest : `/${rest}`, prefix: PREFIX + segment };
}

/** Path and query of an absolute URL, as they stand, without parsing it. */
export function pathOf(url: string): string {
  const at = url.indexOf("/", url.indexOf("://") + 3);
  return at < 0 ? "/" : url.slice(at);
}

function noRoute(path: string): IsolaError {
  return new IsolaError("ROUTE_NOT_FOUND", {
    attempted: "answer on the public listener",
    found: `the path ${JSON.stringify(path.slice(0, 100))}`,
    required: "/function/<name>[.<namespace>][/<path>], /healthz or /readyz",
  });
}
