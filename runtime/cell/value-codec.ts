/** Values of calls between functions where they leave a process: MessagePack that keeps them. */
import { Packr } from "msgpackr";

const packr = new Packr({ useRecords: true, moreTypes: true, structuredClone: true });

export function encodeValue(value: unknown): Uint8Array<ArrayBuffer> {
  return new Uint8Array(packr.pack(value));
}

export function decodeValue(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}
