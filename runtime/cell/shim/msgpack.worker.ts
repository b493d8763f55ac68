/** MessagePack for data functions; loaded by the shim only when a caller speaks it. */
import { Packr } from "msgpackr";

const packr = new Packr({ useRecords: false, moreTypes: true, mapsAsObjects: true });

export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return new Uint8Array(packr.pack(value));
}

export function decode(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}
