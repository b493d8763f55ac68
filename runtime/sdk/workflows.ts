/**
 * Workflows as functions use them: Cloudflare's `Workflow` and `WorkflowInstance`, in which code
 * that was written for a binding finds what it expects. Errors have Cloudflare's texts, and `code`
 * of the catalogue beside them.
 */

/** Of an instance, in Cloudflare's words. */
export type WorkflowStatus =
  | "queued"
  | "running"
  | "paused"
  | "errored"
  | "terminated"
  | "complete"
  | "waiting"
  | "waitingForPause"
  | "rollingBack";

export interface WorkflowCreateOptions {
  /** Of one's own: at most one instance of the workflow has it. @default the id of the run */
  readonly id?: string;
  /** What the workflow is given: any value. @default {} */
  readonly params?: unknown;
}

export interface WorkflowInstanceHandle {
  readonly id: string;
  /** Steps under way end; nothing begins before `resume`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** @param options `rollback`: its steps are undone, newest first. @default false */
  terminate(options?: { readonly rollback?: boolean }): Promise<void>;
  /** From its beginning, with the version of now; or from a step, keeping what was before it. */
  restart(options?: {
    readonly from?: {
      readonly name: string;
      /** Which use of the name. @default 1 */
      readonly count?: number;
      /** @default "do" */
      readonly type?: "do" | "sleep" | "waitForEvent";
    };
  }): Promise<void>;
  /** It is no more: neither are its result and its history. */
  delete(): Promise<void>;
  status(): Promise<{
    readonly status: WorkflowStatus;
    /** Null until it is complete. */
    readonly output: unknown;
    readonly error?: { readonly name: string; readonly message: string };
  }>;
  /** Kept until the instance waits for that type. */
  sendEvent(event: { readonly type: string; readonly payload?: unknown }): Promise<void>;
  /** Its history from the cursor on, then as it comes, to its end. */
  subscribe(options?: {
    /** Events that are known. @default 0 */
    readonly cursor?: number;
    /** Types to be told of. @default all */
    readonly filter?: readonly string[];
  }): Promise<{
    next(): Promise<{ readonly done: boolean; readonly value: unknown }>;
  }>;
}

export interface WorkflowHandle {
  /** @throws Error `(instance.already_exists)` */
  create(options?: WorkflowCreateOptions): Promise<WorkflowInstanceHandle>;
  /** @throws Error `instance.not_found` */
  get(id: string): Promise<WorkflowInstanceHandle>;
  /** At most 100; known ids are skipped. */
  createBatch(options: readonly WorkflowCreateOptions[]): Promise<unknown>;
  /** At most 100. */
  deleteBatch(ids: readonly string[]): Promise<{
    readonly deleted: readonly unknown[];
    readonly errors: readonly { readonly id?: string; readonly message: string }[];
  }>;
}
