/** MessagePack for data functions; loaded by the shim only when a caller speaks it. */
import { C1, Packr } from "msgpackr";

export { decodeValue, encodeValue } from "../value-codec.ts";

const packr = new Packr({ useRecords: false, moreTypes: true, mapsAsObjects: true });

export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return new Uint8Array(packr.pack(value));
}

export function decode(bytes: Uint8Array): unknown {
  const value: unknown = packr.unpack(bytes);
  // The one byte that the format leaves without a meaning; the library has an object for it.
  if (value === C1) throw new TypeError("the byte 0xc1 stands for nothing");
  return value;
}
