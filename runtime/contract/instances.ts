/**
 * Instances of workflows, as functions create and command them through bindings: what the shim
 * asks the cell, and the cell the shard that keeps the run.
 *
 * The id of an instance is the run's own, or one that its creator chose: an idempotency key of the
 * workflow, which names the shard. Whatever a shim says is tenant-controlled.
 */
import type { RunStepRef } from "./call.ts";
import type { ErrorData } from "./errors.ts";
import type { ResolvedConfig } from "./function-config.ts";

/** A step of an instance, as `restart` names it. */
export interface InstanceStep {
  readonly name: string;
  /** @default 1 */
  readonly count?: number;
  /** @default "do" */
  readonly type?: "do" | "sleep" | "waitForEvent";
}

export type InstanceCall =
  | { readonly op: "create"; readonly id?: string }
  | { readonly op: "get" | "status" | "pause" | "resume" | "delete"; readonly id: string }
  | { readonly op: "terminate"; readonly id: string; readonly rollback: boolean }
  | { readonly op: "restart"; readonly id: string; readonly from?: InstanceStep }
  /** `event` names it: one that the run knows is taken once. */
  | {
      readonly op: "sendEvent";
      readonly id: string;
      readonly type: string;
      readonly event?: string;
    }
  /** The cell asks it of the shard of the run that sends: staged with the attempt (G2). */
  | {
      readonly op: "stageEvent";
      readonly id: string;
      readonly type: string;
      readonly event: string;
      readonly attempt: RunStepRef;
    }
  | {
      readonly op: "events";
      readonly id: string;
      /** Lines that are known: `after` of the answer before. */
      readonly after: number;
      readonly waitMs: number;
    };

/** What the shim asks; `value` rides beside: parameters, or the payload of an event. */
export interface InstanceQuestion {
  readonly workflow: string;
  readonly call: InstanceCall;
}

/** What a shard is asked; `run` is what a new run is called, `version` and bounds those of now. */
export interface InstanceAsk extends InstanceQuestion {
  readonly namespace: string;
  readonly run: string;
  readonly version: number;
  readonly form: "dag" | "code";
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly retention: ResolvedConfig["retention"];
}

/** Statuses in Cloudflare's words. */
export type InstanceStatus =
  | "queued"
  | "running"
  | "paused"
  | "errored"
  | "terminated"
  | "complete"
  | "waiting"
  | "waitingForPause"
  | "rollingBack";

/** One line of an instance's history. */
export interface InstanceEvent {
  readonly eventId: number;
  readonly atMs: number;
  readonly type: string;
  readonly stepName?: string;
  readonly attempt?: number;
  readonly retryDelayMs?: number;
  readonly eventType?: string;
  readonly error?: { readonly name: string; readonly message: string };
}

export interface InstanceAnswer {
  readonly id?: string;
  readonly status?: InstanceStatus;
  /** Of one that is complete. */
  readonly output?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
  readonly events?: readonly InstanceEvent[];
  readonly after?: number;
  readonly isOver?: boolean;
}

export type InstanceReply =
  | { readonly ok: true; readonly value: InstanceAnswer }
  | { readonly ok: false; readonly error: ErrorData };

/** Id of an instance that its creator chose. */
export const INSTANCE_ID = /^[a-zA-Z0-9_][a-zA-Z0-9-_]{0,99}$/;
