/**
 * Names and identifiers: how they look, how they are made, how bad ones are refused.
 *
 * A call id is 32 hex digits of randomness made by the gateway; it doubles as nothing else, so a
 * guess at another call's id is a guess at 128 bits.
 */
import type { Random } from "./clock.ts";
import { IsolaError } from "./errors.ts";

export const DEFAULT_NAMESPACE = "default";

/** DNS label: lower-case letters, digits and inner hyphens, 1 to 63 characters. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Names that host routing or the admin API keep for themselves. */
const RESERVED_NAMESPACES = new Set(["admin", "isola", "localhost"]);

export function isLabel(text: string): boolean {
  return LABEL.test(text);
}

/** Refuses a function name that is not a DNS label. Errors: `NAME_INVALID`. */
export function checkFunctionName(name: string): string {
  if (!isLabel(name)) {
    throw new IsolaError("NAME_INVALID", {
      attempted: "name a function",
      found: JSON.stringify(name),
      required: "a DNS label: a-z, 0-9 and inner hyphens, 1 to 63 characters",
      fix: "rename the file, or pass --name",
    });
  }
  return name;
}

/** Refuses a namespace name that is not a DNS label or is reserved. Errors: `NAME_INVALID`. */
export function checkNamespaceName(name: string): string {
  if (!isLabel(name) || RESERVED_NAMESPACES.has(name)) {
    throw new IsolaError("NAME_INVALID", {
      attempted: "name a namespace",
      found: JSON.stringify(name),
      required: `a DNS label other than ${[...RESERVED_NAMESPACES].join(", ")}`,
      fix: "choose another name",
    });
  }
  return name;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** V8's own where it has one: workerd does, Node 24 does not. A call makes two of these texts. */
export function toHex(bytes: Uint8Array & { toHex?(): string }): string {
  if (bytes.toHex) return bytes.toHex();
  let text = "";
  for (const byte of bytes) text += HEX[byte] ?? "";
  return text;
}

/** 128 random bits as 32 hex digits. */
export function newCallId(random: Random): string {
  return toHex(random.bytes(16));
}

/** Key under which a function stands in every table: namespaces and names hold no slash. */
export function functionKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}
