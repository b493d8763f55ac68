/**
 * A binding to a workflow: Cloudflare's `Workflow` and `WorkflowInstance`, over the call's scope.
 * What it is given is checked here for what people get wrong; what counts is checked by the shard.
 */
import {
  type ErrorData,
  INSTANCE_ID,
  type InstanceAnswer,
  type InstanceCall,
  type InstanceEvent,
  type InstanceReply,
  type InstanceStep,
  IsolaError,
} from "../../contract/index.ts";
import type { WorkflowHandle, WorkflowInstanceHandle } from "../../sdk/index.ts";
import { namedError } from "./cloudflare-errors.ts";
import { parseStepDuration } from "../../../workflow/index.ts";

const BATCH_MAX = 100;
const RESERVED = /^(?:batch|terminate|terminateAll|cf_[0-9a-f]{64})$/u;
/** How long an open subscription waits for a line before it asks again. */
const WAIT_MS = 10_000;

/** Asks the cell; `value` rides beside: parameters, or the payload of an event. */
export type AskInstance = (call: InstanceCall, value?: unknown) => Promise<InstanceReply>;

interface CreateOptions {
  readonly id?: unknown;
  readonly params?: unknown;
  readonly retention?: { readonly successRetention?: unknown; readonly errorRetention?: unknown };
  readonly locationHint?: unknown;
}

interface BatchError {
  readonly index?: number;
  readonly id?: string;
  readonly code: number;
  readonly message: string;
}

export class WorkflowBinding implements WorkflowHandle {
  readonly #name: string;
  readonly #ask: AskInstance;

  constructor(name: string, ask: AskInstance) {
    this.#name = name;
    this.#ask = ask;
  }

  /** Starts an instance. @throws `(instance.already_exists)` */
  async create(options: CreateOptions = {}): Promise<WorkflowInstance> {
    const { id, params = {} } = options;
    if (id !== undefined && !isInstanceId(id))
      throw workflowError("Workflow instance has invalid id");
    checkEntry(options);
    const call = { op: "create", ...(id !== undefined && { id }) } as const;
    const answer = taken(await this.#ask(call, params), call, id);
    return this.#instance(answer.id ?? "");
  }

  /** A list, whose known ids are skipped; or `{count}` or `{instances}`, which tell of them. */
  async createBatch(given: unknown): Promise<unknown> {
    if (Array.isArray(given)) {
      if (given.length === 0) throw batchError("batchCreate should have at least 1 instance");
      if (given.length > BATCH_MAX)
        throw batchError("batchCreate only supports 100 instances at a time");
      return (await this.#createAll(given as CreateOptions[], false)).created;
    }
    return this.#createAll(batchOf(given), true);
  }

  /** @throws `instance.not_found` */
  async get(id: string): Promise<WorkflowInstance> {
    taken(await this.#ask({ op: "get", id: String(id) }), { op: "get" }, id);
    return this.#instance(id);
  }

  async deleteBatch(ids: readonly string[]): Promise<{ deleted: unknown[]; errors: BatchError[] }> {
    if (!Array.isArray(ids)) throw bodyError("Provided argument is invalid");
    if (ids.length > BATCH_MAX)
      throw bodyError("batchDeleteInstances only supports 100 instances at a time");
    if (ids.length === 0) throw bodyError("batchDeleteInstances should have at least 1 instance");
    const deleted: unknown[] = [];
    const errors: BatchError[] = [];
    for (const id of new Set(ids.map(String))) {
      const reply = await this.#ask({ op: "delete", id });
      if (reply.ok) deleted.push({ id });
      else if (reply.error.code === "RUN_NOT_FOUND") {
        errors.push({ id, code: 10_400, message: "workflows.api.error.instance.not_found" });
      } else errors.push({ id, code: 10_001, message: "workflows.api.error.internal_server" });
    }
    return { deleted, errors };
  }

  async #createAll(
    entries: readonly CreateOptions[],
    isStrict: boolean,
  ): Promise<{ created: WorkflowInstance[]; errors: BatchError[] }> {
    for (const { id } of entries) {
      if (id === undefined || (isInstanceId(id) && !(isStrict && RESERVED.test(id)))) continue;
      throw isStrict
        ? workflowError("(instance.invalid_id) Instance ID is invalid")
        : workflowError("Workflow instance has invalid id");
    }
    const created: WorkflowInstance[] = [];
    const errors: BatchError[] = [];
    const seen = new Set<unknown>();
    for (const [index, entry] of entries.entries()) {
      const id = entry.id as string | undefined;
      const isTwice = id !== undefined && seen.has(id);
      seen.add(id);
      if (!isTwice) {
        const call = { op: "create", ...(id !== undefined && { id }) } as const;
        const reply = await this.#ask(call, entry.params ?? {});
        if (reply.ok) {
          created.push(this.#instance(reply.value.id ?? ""));
          continue;
        }
        if (reply.error.code !== "KEY_REUSED") taken(reply, call, id);
      }
      const [code, word] = isTwice ? [10_415, "duplicate_in_batch"] : [10_405, "already_exists"];
      const message = `workflows.api.error.instance.${word}`;
      errors.push({ index, ...(id !== undefined && { id }), code, message });
    }
    return { created, errors };
  }

  #instance(id: string): WorkflowInstance {
    return new WorkflowInstance(id, this.#ask);
  }

  get [Symbol.toStringTag](): string {
    return `Workflow ${this.#name}`;
  }
}

class WorkflowInstance implements WorkflowInstanceHandle {
  readonly id: string;
  readonly #ask: AskInstance;

  constructor(id: string, ask: AskInstance) {
    this.id = id;
    this.#ask = ask;
  }

  async pause(): Promise<void> {
    await this.#tell({ op: "pause", id: this.id });
  }

  async resume(): Promise<void> {
    await this.#tell({ op: "resume", id: this.id });
  }

  async terminate({ rollback = false }: { readonly rollback?: boolean } = {}): Promise<void> {
    await this.#tell({ op: "terminate", id: this.id, rollback });
  }

  async restart({ from }: { readonly from?: InstanceStep } = {}): Promise<void> {
    await this.#tell({ op: "restart", id: this.id, ...(from && { from }) });
  }

  async delete(): Promise<void> {
    await this.#tell({ op: "delete", id: this.id });
  }

  async status(): ReturnType<WorkflowInstanceHandle["status"]> {
    const answer = await this.#tell({ op: "status", id: this.id });
    const { status = "running", output, error } = answer;
    return { status, output: output ?? null, ...(error && { error }) };
  }

  async sendEvent(given: { readonly type: string; readonly payload?: unknown }): Promise<void> {
    const { type, payload } = given;
    await this.#tell({ op: "sendEvent", id: this.id, type: String(type) }, payload);
  }

  /** Lines of its history: those there are after the cursor, then as they come, to its end. */
  async subscribe(given: unknown = {}): Promise<Subscription> {
    const { cursor, filter } = subscriptionOf(given);
    await this.#tell({ op: "get", id: this.id });
    return new Subscription(this.id, this.#ask, cursor, filter);
  }

  async #tell(call: InstanceCall, value?: unknown): Promise<InstanceAnswer> {
    return taken(await this.#ask(call, value), call, this.id);
  }
}

class Subscription {
  readonly #id: string;
  readonly #ask: AskInstance;
  readonly #filter: ReadonlySet<string> | undefined;
  #after: number;
  #events: InstanceEvent[] = [];
  #isOver = false;

  constructor(id: string, ask: AskInstance, cursor: number, filter: readonly string[] | undefined) {
    this.#id = id;
    this.#ask = ask;
    this.#after = cursor;
    this.#filter = filter && new Set(filter);
  }

  async next(): Promise<{ done: boolean; value: unknown }> {
    for (;;) {
      const event = this.#events.shift();
      if (event && this.#filter?.has(event.type) !== false) {
        const { atMs, ...rest } = event;
        return { done: false, value: { instanceId: this.#id, timestamp: new Date(atMs), ...rest } };
      }
      if (event) continue;
      if (this.#isOver) return { done: true, value: undefined };
      const call = { op: "events", id: this.#id, after: this.#after, waitMs: WAIT_MS } as const;
      const { events = [], after = 0, isOver } = taken(await this.#ask(call), call, this.#id);
      this.#events = [...events];
      this.#after = after;
      this.#isOver = isOver === true;
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#events = [];
  }
}

/** The answer, or Cloudflare's error for why there is none. */
function taken(
  reply: InstanceReply,
  { op }: Pick<InstanceCall, "op">,
  id: unknown,
): InstanceAnswer {
  if (reply.ok) return reply.value;
  throw Object.assign(errorOf(reply.error, op, String(id)), { code: reply.error.code });
}

function errorOf(error: ErrorData, op: InstanceCall["op"], id: string): Error {
  switch (error.code) {
    case "KEY_REUSED":
      return workflowError(
        `(instance.already_exists) Workflow instance with id "${id}" already exists`,
      );
    case "RUN_NOT_FOUND":
      return namedError("Error", "instance.not_found");
    case "RUN_STATE":
      return workflowError(`(instance.cannot_${op}) ${stateText(op, error.parts.found)}`);
    case "STEP_NOT_FOUND":
      return workflowError(`(instance.cannot_restart) ${error.parts.attempted}: no such step`);
    default:
      return IsolaError.fromData(error);
  }
}

function stateText(op: InstanceCall["op"], found: string): string {
  if (op === "terminate") return "Cannot terminate instance since its on a finite state";
  const status = found.replace(/^the status /u, "").replace("completed", "complete");
  return `Cannot ${op} instance with status "${status.replace("failed", "errored")}"`;
}

function batchOf(given: unknown): readonly CreateOptions[] {
  const { count, instances, params, retention, locationHint } = (given ?? {}) as Partial<
    Record<string, unknown>
  >;
  if (count !== undefined) {
    if (!Number.isInteger(count) || Number(count) < 1)
      throw bodyError("count must be a positive integer");
    if (Number(count) > BATCH_MAX)
      throw bodyError("batchCreate only supports 100 instances at a time");
    const entry = { params, retention, locationHint } as CreateOptions;
    checkEntry(entry);
    return Array.from({ length: Number(count) }, () => entry);
  }
  if (!Array.isArray(instances)) throw bodyError("Provided argument is invalid");
  if (instances.length === 0 || instances.length > BATCH_MAX) {
    throw bodyError("Batch size exceeds maximum allowed");
  }
  for (const entry of instances) checkEntry(entry as CreateOptions);
  return instances as CreateOptions[];
}

function checkEntry(entry: CreateOptions): void {
  if (typeof entry !== "object" || entry === null)
    throw bodyError("Invalid input: expected object");
  const { successRetention, errorRetention } = entry.retention ?? {};
  for (const duration of [successRetention, errorRetention]) {
    if (duration === undefined) continue;
    const parsed = parseStepDuration(duration);
    if (parsed.ok && parsed.value > 0) continue;
    throw bodyError('a retention is milliseconds, or a text such as "3 days"');
  }
}

function subscriptionOf(given: unknown): { cursor: number; filter?: readonly string[] } {
  const { cursor = 0, filter, ...rest } = (given ?? {}) as Partial<Record<string, unknown>>;
  const isCursor = Number.isSafeInteger(cursor) && Number(cursor) >= 0;
  const isFilter =
    filter === undefined ||
    (Array.isArray(filter) && filter.every((type) => typeof type === "string"));
  if (!isCursor || !isFilter || Object.keys(rest).length > 0) {
    throw namedError("Error", "Invalid Workflow subscription options");
  }
  return { cursor: Number(cursor), ...(filter !== undefined && { filter }) };
}

function isInstanceId(id: unknown): id is string {
  return typeof id === "string" && INSTANCE_ID.test(id);
}

function workflowError(message: string): Error {
  return namedError("WorkflowError", message);
}

const bodyError = (message: string): Error => workflowError(`(body) ${message}`);
const batchError = (message: string): Error => namedError("Error", `WorkflowError: ${message}`);
