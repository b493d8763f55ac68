/** Values of runs, for people: as they are where JSON carries them, else how they begin. */
import { RUN_ADMIN_LIMITS, type ShownValue } from "../../contract/index.ts";
import type { Held } from "../../../workflow/index.ts";

const PREVIEW_CHARACTERS = 1_000;
const PREVIEW_DEPTH = 4;
const PREVIEW_ITEMS = 20;
const DEPTH_MAX = 64;

export function shownHeld(held: Held): ShownValue | undefined {
  if ("value" in held) return held.value === undefined ? undefined : shownValue(held.value);
  if ("ref" in held) return { ref: held.ref, sizeBytes: held.sizeBytes };
  if ("slot" in held) return undefined;
  const parts = held.parts.map(([key, part]) => [key, shownHeld(part)] as const);
  return { preview: clipped(`{${parts.map(([key]) => key).join(", ")}}`) };
}

export function shownValue(value: unknown): ShownValue {
  if (!isPlain(value, 0)) return { preview: preview(value) };
  const { length } = JSON.stringify(value);
  return length > RUN_ADMIN_LIMITS.shownValueMaxBytes ? { preview: preview(value) } : { value };
}

/** Octets under their type, as a function got or gave them. */
export function shownBody(type: string, body: Uint8Array): ShownValue | undefined {
  if (body.byteLength === 0) return undefined;
  const isText = /^(text\/|application\/(json|x-www-form-urlencoded))/.test(type);
  const size = `${String(body.byteLength)} bytes of ${type === "" ? "no type" : type}`;
  if (!isText || body.byteLength > RUN_ADMIN_LIMITS.shownValueMaxBytes) return { preview: size };
  const text = new TextDecoder().decode(body);
  if (!type.startsWith("application/json")) return { value: text };
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return { value: text };
  }
}

/** Whether JSON gives the value back as it is. */
function isPlain(value: unknown, depth: number): boolean {
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value !== "object" || depth > DEPTH_MAX) return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  return !("toJSON" in value) && Object.values(value).every((item) => isPlain(item, depth + 1));
}

function preview(value: unknown): string {
  return clipped(textOf(value, 0));
}

function clipped(text: string): string {
  return text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)}…` : text;
}

function textOf(value: unknown, depth: number): string {
  if (typeof value === "string") return JSON.stringify(clipped(value));
  if (typeof value === "bigint") return `${String(value)}n`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Date) return `Date(${String(value.getTime())})`;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return `${value.constructor.name}(${String(value.byteLength)} bytes)`;
  }
  if (depth >= PREVIEW_DEPTH) return Array.isArray(value) ? "[…]" : "{…}";
  const text = (item: unknown): string => textOf(item, depth + 1);
  if (Array.isArray(value)) return `[${listed(value, text)}]`;
  if (value instanceof Map) {
    return `Map {${listed([...value], ([key, item]) => `${text(key)} => ${text(item)}`)}}`;
  }
  if (value instanceof Set) return `Set {${listed([...value], text)}}`;
  return `{${listed(Object.entries(value), ([key, item]) => `${key}: ${text(item)}`)}}`;
}

function listed<T>(items: readonly T[], text: (item: T) => string): string {
  const shown = items.slice(0, PREVIEW_ITEMS).map(text);
  const left = items.length - shown.length;
  return [...shown, ...(left > 0 ? [`and ${String(left)} more`] : [])].join(", ");
}
