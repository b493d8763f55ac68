/**
 * The deploy request's form: one part `metadata`, every other part a module named by its file.
 * Pure: parts in, bundle out, everything wrong refused by name.
 */
import {
  IsolaError,
  LIMITS,
  type Bundle,
  type BundleModule,
  type DeployMetadata,
  type ModuleKind,
} from "../contract/index.ts";
import { integer, optional, parseFields, record, text } from "./request-fields.ts";

export interface ModulePart {
  readonly name: string;
  readonly type: string;
  readonly bytes: Uint8Array;
}

const MODULE_KINDS: Readonly<Record<string, ModuleKind>> = {
  "application/javascript+module": "js",
  "text/javascript": "js",
  "text/javascript+module": "js",
  "application/javascript": "cjs",
  "application/wasm": "wasm",
  "application/json": "json",
  "text/plain": "text",
  "application/octet-stream": "data",
};

const MODULE_NAME_MAX = 512;
/** Longest text of `metadata`: an environment at its limit, quoted, and some more. */
const METADATA_MAX_BYTES = 2 * LIMITS.envMaxBytes;

/** Largest request body of a deploy: a bundle at its limit and the form around it. */
export const DEPLOY_BODY_MAX_BYTES =
  LIMITS.bundleMaxBytes + METADATA_MAX_BYTES + LIMITS.bundleMaxModules * 1_024;

export function parseMetadata(given: string, attempted: string): DeployMetadata {
  if (given.length > METADATA_MAX_BYTES) {
    throw new IsolaError("BODY_TOO_LARGE", {
      attempted,
      found: `metadata of ${given.length} bytes`,
      required: `at most ${METADATA_MAX_BYTES} bytes`,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(given);
  } catch {
    throw new IsolaError("INPUT_MALFORMED", { attempted, found: "metadata that is no JSON" });
  }
  const fields = {
    main: text(1, MODULE_NAME_MAX),
    // The configuration is checked option by option where it is resolved.
    config: optional({ ...record({}), parse: asRecord }),
    traffic: optional(integer(0, 100)),
  };
  return parseFields(value, fields, attempted);
}

function asRecord(value: unknown): Record<string, never> | undefined {
  const isRecord = typeof value === "object" && value !== null && !Array.isArray(value);
  return isRecord ? (value as Record<string, never>) : undefined;
}

/** @returns the bundle and the bytes of its modules before encoding. */
export function buildBundle(
  main: string,
  parts: readonly ModulePart[],
  attempted: string,
): { bundle: Bundle; bytes: number } {
  const bytes = parts.reduce((sum, part) => sum + part.bytes.byteLength, 0);
  if (bytes > LIMITS.bundleMaxBytes) throw tooLarge(attempted, `${bytes} bytes`);
  if (parts.length > LIMITS.bundleMaxModules) {
    throw tooLarge(attempted, `${parts.length} modules`);
  }
  const modules = parts.map((part) => toModule(part, attempted));
  const names = new Set<string>();
  for (const { name } of modules) {
    if (names.has(name)) {
      throw refuse(attempted, `two modules named ${JSON.stringify(name)}`, "each name once");
    }
    names.add(name);
  }
  const entry = modules.find((module) => module.name === main);
  if (entry === undefined || (entry.kind !== "js" && entry.kind !== "cjs")) {
    const found = entry === undefined ? "no part of that name" : `a module of kind ${entry.kind}`;
    throw refuse(attempted, `main ${JSON.stringify(main)}: ${found}`, "a JavaScript module");
  }
  return { bundle: { main, modules }, bytes };
}

function toModule(part: ModulePart, attempted: string): BundleModule {
  const { name } = part;
  if (!isModuleName(name)) {
    throw refuse(
      attempted,
      `a module named ${JSON.stringify(name.slice(0, 100))}`,
      "a relative path of plain names, at most 512 characters, none of them isola",
    );
  }
  const type = (part.type.split(";")[0] ?? "").trim().toLowerCase();
  const kind = Object.hasOwn(MODULE_KINDS, type) ? MODULE_KINDS[type] : undefined;
  if (kind === undefined) {
    throw new IsolaError("MEDIA_UNSUPPORTED", {
      attempted,
      found: `module ${name} of content type ${JSON.stringify(type)}`,
      required: `one of ${Object.keys(MODULE_KINDS).join(", ")}`,
      fix: "give every part the content type of its kind",
    });
  }
  if (kind === "wasm" || kind === "data") return { name, kind, content: toBase64(part.bytes) };
  return { name, kind, content: decodeText(part, kind, attempted) };
}

function decodeText(part: ModulePart, kind: ModuleKind, attempted: string): string {
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
    const content = decoder.decode(part.bytes);
    if (kind === "json") JSON.parse(content);
    return content;
  } catch {
    throw new IsolaError("BUILD_FAILED", {
      attempted,
      found: `module ${part.name}, which is no ${kind === "json" ? "JSON" : "UTF-8 text"}`,
      required: "what its content type says",
      fix: "correct the file",
    });
  }
}

/** Relative, without empty, dotted or platform names: what a loader resolves without surprise. */
function isModuleName(name: string): boolean {
  if (name.length === 0 || name.length > MODULE_NAME_MAX) return false;
  if (!/^[\w@$+ ,~()[\]./-]+$/u.test(name)) return false;
  const segments = name.split("/");
  return segments.every((one) => one !== "" && one !== "." && one !== ".." && one !== "isola");
}

const BASE64_CHUNK_BYTES = 0x8000 - (0x8000 % 3);

function toBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let start = 0; start < bytes.length; start += BASE64_CHUNK_BYTES) {
    const chunk = bytes.subarray(start, start + BASE64_CHUNK_BYTES);
    parts.push(btoa(String.fromCharCode(...chunk)));
  }
  return parts.join("");
}

function tooLarge(attempted: string, found: string): IsolaError {
  return new IsolaError("BUNDLE_TOO_LARGE", {
    attempted,
    found: `a bundle of ${found}`,
    required: `at most ${LIMITS.bundleMaxBytes} bytes in ${LIMITS.bundleMaxModules} modules`,
  });
}

function refuse(attempted: string, found: string, required: string): IsolaError {
  return new IsolaError("REQUEST_INVALID", { attempted, found, required });
}
