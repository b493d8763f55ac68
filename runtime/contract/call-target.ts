/**
 * How a call names its function: `/function/<name>[.<namespace>][/<path>]`, or the host
 * `<name>.<namespace>.localhost`.
 */
import { DEFAULT_NAMESPACE, isLabel } from "./ids.ts";

export interface CallTarget {
  readonly namespace: string;
  readonly name: string;
}

/** `name` or `name.namespace`; undefined where a part is no label. */
export function parseTarget(text: string): CallTarget | undefined {
  const dot = text.indexOf(".");
  const name = dot < 0 ? text : text.slice(0, dot);
  const namespace = dot < 0 ? DEFAULT_NAMESPACE : text.slice(dot + 1);
  return isLabel(name) && isLabel(namespace) ? { namespace, name } : undefined;
}

/** Function that a `Host` header names; undefined for any other host. */
export function parseHostTarget(host: string): CallTarget | undefined {
  const colon = host.lastIndexOf(":");
  const bare = (colon < 0 ? host : host.slice(0, colon)).toLowerCase();
  if (!bare.endsWith(".localhost")) return undefined;
  const labels = bare.slice(0, -".localhost".length).split(".");
  if (labels.length === 2) return parseTarget(`${labels[0]}.${labels[1]}`);
  return undefined;
}
