/**
 * The call scope: the only way from tenant code to the platform.
 *
 * `Scope` is minted once per isolate; its props, which no tenant can write, name the version it
 * may speak for. `open` takes the id of one of that version's calls in flight and gives the
 * capability, bound to the tenant's invocation: when that ends, so do the capability and all that
 * runs under it. Console lines need no call: a function says them of itself. A stub per call in
 * its props was measured: it costs every call that needs no scope about 15 µs and separates
 * nothing more, since calls of one isolate share its memory.
 */
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import {
  type CallScope,
  type CodeBridge,
  type InstanceReply,
  IsolaError,
  type PackForm,
  type ScopeCallOptions,
  type ScopeCallResult,
  type ScopeStartOptions,
  type ScopeStartResult,
  type ShimLine,
  type StoreResult,
  type StoreTarget,
  type Unpacked,
  parseSuspectKey,
  suspectKey,
  toIsolaError,
} from "../contract/index.ts";
import { storeOf } from "./call-store.worker.ts";
import { type Cell, currentCell } from "./cell.worker.ts";
import { openStepCall } from "./runs/code-step-call.worker.ts";
import { callAsync } from "./runs/call-async.worker.ts";
import { askForCall } from "./runs/events-sent.worker.ts";
import type { LiveCall } from "./live-calls.worker.ts";
import { pack, unpack } from "./message-pack.ts";
import { checkLines } from "./shim-report.ts";
import { callFunction } from "./sub-call.worker.ts";

const CALL_ID = /^[0-9a-f]{32}$/;

interface ScopeProps {
  /** `namespace/function@version`. */
  readonly key: string;
}

export class Scope extends WorkerEntrypoint<unknown, ScopeProps> {
  open(callId: unknown): CallScopeTarget {
    const { cell, live } = this.#find(callId);
    return new CallScopeTarget(cell, live, this.ctx);
  }

  /** What `open` and `store` on it give, in one step: most calls want nothing else of a scope. */
  store(callId: unknown, jobId?: unknown): Promise<StoreTarget> {
    const { cell, live } = this.#find(callId);
    return storeOf(cell, live).open(jobId);
  }

  /**
   * A call to another function, in an invocation of its own: it is the callee's driver, and what is
   * left of the callee when it returns is dropped (sub-call S3).
   */
  async call(
    callId: unknown,
    name: string,
    input: unknown,
    options: ScopeCallOptions,
  ): Promise<ScopeCallResult> {
    try {
      const { cell, live } = this.#find(callId);
      return await callFunction(cell, live, this.ctx, { name, input, options });
    } catch (thrown) {
      return { ok: false, error: toIsolaError(thrown, "call a function").toData() };
    }
  }

  pack(value: unknown, form: unknown): Uint8Array {
    return pack(value, packForm(form));
  }

  /** What is thrown would lose its words on the way. */
  unpack(octets: unknown, form: unknown): Unpacked {
    try {
      if (!(octets instanceof Uint8Array)) throw new TypeError("no octets");
      return { ok: true, value: unpack(octets, packForm(form)) };
    } catch (thrown) {
      const found = thrown instanceof Error ? thrown.message : String(thrown);
      return { ok: false, found: found.slice(0, 500) };
    }
  }

  /** An instance of a workflow of the namespace. @param value its parameters, or an event's */
  async instance(callId: unknown, question: unknown, value: unknown): Promise<InstanceReply> {
    try {
      const { cell, live } = this.#find(callId);
      return await askForCall(cell, live, question, value);
    } catch (thrown) {
      return { ok: false, error: toIsolaError(thrown, "use an instance of a workflow").toData() };
    }
  }

  /** A run that is not waited for. */
  async callAsync(
    callId: unknown,
    name: unknown,
    input: unknown,
    options: ScopeStartOptions,
  ): Promise<ScopeStartResult> {
    try {
      const { cell, live } = this.#find(callId);
      return await callAsync(cell, live, { name, input, options });
    } catch (thrown) {
      return { ok: false, error: toIsolaError(thrown, "start a run").toData() };
    }
  }

  /** The cell's end of a session of code. */
  async code(callId: unknown): Promise<CodeBridge> {
    const { cell, live } = this.#find(callId, true);
    const { codeShard: shard, envelope } = live;
    if (shard !== undefined) return cell.bindings.shards.actor(shard).openCode(envelope.id);
    throw new IsolaError("CONFLICT", {
      attempted: "take part in a run",
      found: "a call that is none of a run",
    });
  }

  /** A call for one attempt of a step in a session of code: what it writes is staged with that. */
  openStep(callId: unknown, step: unknown, token: unknown): string {
    const { cell, live } = this.#find(callId);
    return openStepCall(cell, live, String(step), Number(token)).envelope.id;
  }

  storeOfStep(
    callId: unknown,
    step: unknown,
    token: unknown,
    jobId?: unknown,
  ): Promise<StoreTarget> {
    const { cell, live } = this.#find(callId);
    return storeOf(cell, openStepCall(cell, live, String(step), Number(token))).open(jobId);
  }

  /** Console lines of a call without an open scope, in flight or not: its last may come late. */
  say(callId: unknown, lines: unknown): void {
    const cell = currentCell();
    const speaker = parseSuspectKey(this.ctx.props.key);
    // Lines of a replay would be of a version that there is not.
    if (
      !cell ||
      !speaker ||
      speaker.version === 0 ||
      typeof callId !== "string" ||
      !CALL_ID.test(callId)
    )
      return;
    const { namespace: ns, name: fn, version: v } = speaker;
    cell.addLogs(this.ctx, { id: callId, ns, fn, v }, checkLines(lines));
  }

  /** @param isSession it is for the session alone, which a replay has, too. */
  #find(callId: unknown, isSession = false): { readonly cell: Cell; readonly live: LiveCall } {
    const cell = currentCell();
    const live = typeof callId === "string" ? cell?.live.get(callId) : undefined;
    if (!cell || !live || keyOf(live) !== this.ctx.props.key) {
      throw new IsolaError("CONFLICT", {
        attempted: "use the context of a call",
        found: "the call is over",
        required: "a call in flight",
        fix: "await what belongs to a call before it returns, or give it to waitUntil",
      });
    }
    if (!live.isReplay || isSession) return { cell, live };
    throw new IsolaError("CONFLICT", {
      attempted: "use the platform in a replay",
      found: "code that is not deployed yet",
      required: "steps: what is outside of them runs in every replay",
    });
  }
}

function packForm(form: unknown): PackForm {
  return form === "value" ? "value" : "msgpack";
}

function keyOf({ envelope }: LiveCall): string {
  return suspectKey(envelope.ns, envelope.fn, envelope.v);
}

class CallScopeTarget extends RpcTarget implements CallScope {
  readonly #cell: Cell;
  readonly #live: LiveCall;
  readonly #ctx: ExecutionContext;

  constructor(cell: Cell, live: LiveCall, ctx: ExecutionContext) {
    super();
    this.#cell = cell;
    this.#live = live;
    this.#ctx = ctx;
  }

  async flush(lines: readonly ShimLine[]): Promise<void> {
    this.#cell.addLogs(this.#ctx, this.#live.envelope, checkLines(lines));
  }

  async background(isOpen: boolean): Promise<void> {
    this.#cell.isolates.background(this.#live.envelope, isOpen);
    this.#live.isWorking = isOpen;
    if (isOpen) this.#live.store?.hold();
    else await this.#live.store?.release();
  }

  async streams(): Promise<void> {
    this.#live.store?.holdStream();
  }

  store(jobId?: unknown): Promise<StoreTarget> {
    return storeOf(this.#cell, this.#live).open(jobId);
  }

  async createJob(request: unknown): Promise<StoreResult> {
    return storeOf(this.#cell, this.#live).create(request);
  }

  canceled(): Promise<string> {
    return this.#live.end;
  }
}
