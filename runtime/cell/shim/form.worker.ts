/** What a module exports, and how each form is called. */
import { WorkerEntrypoint, WorkflowEntrypoint } from "cloudflare:workers";
import { FLOW_BRAND, type Flow } from "../../../workflow/builder/index.ts";
import { type FunctionForm, IsolaError } from "../../contract/index.ts";

export interface UserModule {
  readonly default?: unknown;
  readonly config?: unknown;
  readonly [name: string]: unknown;
}

export type HttpHandler = (
  request: Request,
  env: unknown,
  ctx: unknown,
) => Response | Promise<Response>;

export type EntrypointClass = new (
  ctx: ExecutionContext,
  env: unknown,
) => { fetch?: (request: Request) => unknown } & Record<string, unknown>;

export type WorkflowClass = new (
  ctx: ExecutionContext,
  env: unknown,
) => { run(event: unknown, step: unknown): Promise<unknown> };

/** The form of a module's default export. Errors: `EXPORT_INVALID`. */
export function formOf(module: UserModule): FunctionForm {
  const exported = module.default;
  if (isFlow(exported)) return "flow";
  if (workflowClass(module)) return "workflow";
  if (isEntrypoint(exported)) {
    return typeof exported.prototype.fetch === "function" ? "entrypoint" : "rpc";
  }
  if (typeof exported === "function") return "data";
  if (typeof exported === "object" && exported !== null) {
    if (typeof (exported as { fetch?: unknown }).fetch === "function") return "http";
  }
  throw new IsolaError("EXPORT_INVALID", {
    attempted: "find the function in the module",
    found:
      "default" in module ? `a default export that is ${describe(exported)}` : describeNone(module),
    required:
      "export default a function, an object with fetch, a flow, or a class extending " +
      "WorkerEntrypoint or WorkflowEntrypoint",
  });
}

/** A workflow in DAG form; `isola` is another bundle than this one, so its class is none here. */
export function isFlow(exported: unknown): exported is Flow {
  return typeof exported === "object" && exported !== null && FLOW_BRAND in exported;
}

/** A workflow in code form: the default export, or the only class of its kind without one. */
export function workflowClass(module: UserModule): WorkflowClass | undefined {
  if (isWorkflowClass(module.default)) return module.default;
  if (module.default !== undefined) return undefined;
  const classes = Object.values(module).filter(isWorkflowClass);
  return classes.length === 1 ? classes[0] : undefined;
}

function isWorkflowClass(value: unknown): value is WorkflowClass {
  return typeof value === "function" && value.prototype instanceof WorkflowEntrypoint;
}

function isEntrypoint(
  value: unknown,
): value is EntrypointClass & { prototype: { fetch?: unknown } } {
  return typeof value === "function" && value.prototype instanceof WorkerEntrypoint;
}

function describe(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object" ? "an object without fetch" : `of type ${typeof value}`;
}

function describeNone(module: UserModule): string {
  const names = Object.keys(module);
  return names.length === 0 ? "no exports" : `exports ${names.join(", ")}, but no default`;
}

/** Methods that a class answers under their names, those of its base classes included. */
export function methodNames(Class: EntrypointClass): string[] {
  const names = new Set<string>();
  let prototype: object | null = Class.prototype as object;
  while (prototype !== null && prototype !== WorkerEntrypoint.prototype) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value === "function") names.add(name);
    }
    prototype = Object.getPrototypeOf(prototype) as object | null;
  }
  names.delete("constructor");
  names.delete("fetch");
  return [...names];
}

/** Exported classes and handlers besides the default, by name. */
export function entrypointNames(module: UserModule): string[] {
  return Object.keys(module).filter((name) => name !== "default" && isEntrypoint(module[name]));
}

/** The exported config as data: functions dropped, validators reduced to `true`. */
export function configData(module: UserModule): unknown {
  const { config } = module;
  if (typeof config !== "object" || config === null) return config;
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    plain[key] = key === "input" || key === "output" ? true : value;
  }
  return JSON.parse(JSON.stringify(plain)) as unknown;
}
