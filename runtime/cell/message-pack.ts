/**
 * MessagePack for functions: decoded and encoded by the cell. The library in every isolate would
 * cost each start milliseconds, since workerd compiles all of an isolate's modules at once.
 */
import { C1, Packr } from "msgpackr";
import type { PackForm } from "../contract/index.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";

const packr = new Packr({ useRecords: false, moreTypes: true, mapsAsObjects: true });

export function pack(value: unknown, form: PackForm): Uint8Array<ArrayBuffer> {
  return form === "value" ? encodeValue(value) : new Uint8Array(packr.pack(value));
}

/** @throws what the library says of octets that are none of that form. */
export function unpack(octets: Uint8Array, form: PackForm): unknown {
  if (form === "value") return decodeValue(octets);
  const value: unknown = packr.unpack(octets);
  // The one byte that the format leaves without a meaning; the library has an object for it.
  if (value === C1) throw new TypeError("the byte 0xc1 stands for nothing");
  return value;
}
