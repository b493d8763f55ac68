/** Whether two structured values are the same to whoever reads them; `compareAndSet` asks. */
import type { StoredValue } from "../runtime/contract/index.ts";

export function sameStored(left: StoredValue, right: StoredValue): boolean {
  if (left.kind === "bytes" || right.kind === "bytes") {
    if (left.kind !== "bytes" || right.kind !== "bytes") return false;
    return left.sizeBytes === right.sizeBytes && sameBytes(joined(left), joined(right));
  }
  return sameValue(left.value, right.value, new Map());
}

function joined(value: StoredValue & { kind: "bytes" }): Uint8Array {
  const [first] = value.chunks;
  if (value.chunks.length === 1 && first) return first;
  const bytes = new Uint8Array(value.sizeBytes);
  let at = 0;
  for (const chunk of value.chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.byteLength !== right.byteLength) return false;
  for (let at = 0; at < left.byteLength; at += 1) if (left[at] !== right[at]) return false;
  return true;
}

type Open = Map<object, object>;

function sameValue(left: unknown, right: unknown, open: Open): boolean {
  if (Object.is(left, right)) return true;
  if (typeof left !== "object" || typeof right !== "object") return false;
  if (left === null || right === null) return false;
  // A pair that is being compared further up: a cycle on both sides.
  if (open.get(left) === right) return true;
  if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
  open.set(left, right);
  const same = sameObject(left, right, open);
  open.delete(left);
  return same;
}

function sameObject(left: object, right: object, open: Open): boolean {
  if (left instanceof Date)
    return right instanceof Date && Object.is(left.getTime(), right.getTime());
  if (left instanceof RegExp) return right instanceof RegExp && String(left) === String(right);
  if (ArrayBuffer.isView(left)) {
    return ArrayBuffer.isView(right) && sameBytes(octets(left), octets(right));
  }
  if (left instanceof ArrayBuffer) {
    return right instanceof ArrayBuffer && sameBytes(new Uint8Array(left), new Uint8Array(right));
  }
  if (left instanceof Map) {
    return right instanceof Map && sameValue([...left], [...right], open);
  }
  if (left instanceof Set) {
    return right instanceof Set && sameValue([...left], [...right], open);
  }
  if (left instanceof Error) return right instanceof Error && String(left) === String(right);
  return sameFields(left, right, open);
}

function octets(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function sameFields(left: object, right: object, open: Open): boolean {
  const fields = left as Readonly<Record<string, unknown>>;
  const others = right as Readonly<Record<string, unknown>>;
  const keys = Object.keys(fields);
  if (keys.length !== Object.keys(others).length) return false;
  return keys.every(
    (key) => Object.hasOwn(others, key) && sameValue(fields[key], others[key], open),
  );
}
