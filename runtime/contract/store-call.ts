/**
 * An operation of the store as data: the same from a function, over HTTP and between processes.
 *
 * Between processes it is a POST to `STORE_ROUTE` of the cell that holds the shard (or, from a
 * cell, of its supply socket, which passes it on), with the `StoreRequest` as its `cf` object and
 * the value as its body: octets, or a structured value under `VALUE_TYPE`. A body that streams is
 * an upload, and stored only if it arrives whole. Operations of `VALUE_OPERATIONS` answer with
 * `storeHeader` of their answer in the header `STORE_HEADER` and the value, if any, as the body;
 * octets have a Content-Length. All others answer with JSON as the body, since a list would not
 * fit a header. A refusal is `ErrorData` as JSON under the status of its code.
 */
import type { CodeBridge } from "./code-run.ts";
import type { InstanceAsk, InstanceReply } from "./instances.ts";
import type { DiskReport } from "./control.ts";
import type { ErrorData } from "./errors.ts";
import type { StoreAttempt } from "./store-attempt.ts";
import type { RunAnswers, RunAsk } from "./run-admin.ts";
import type { RunStart, RunTold } from "./run-call.ts";
import type {
  ListOptions,
  ListPage,
  LockResult,
  ObjectInfo,
  PutOptions,
  PutResult,
  StoreJobInfo,
  StoreJobRequest,
  StoreUsage,
  TakeLease,
} from "./store-api.ts";

export const STORE_ROUTE = "/store";
export const STORE_HEADER = "x-isola-store";

/** Those whose answer has a value beside it. */
export const VALUE_OPERATIONS: readonly string[] = ["get", "take", "getPut"];

/** JSON for a header, which carries no character beyond ASCII: keys may hold any. */
export function storeHeader(answer: unknown): string {
  return JSON.stringify(answer).replaceAll(/[\u007f-\uffff]/g, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

interface Named {
  readonly bucket: string;
  readonly key: string;
}

/** Octets `[start, end)` of an object. */
export interface StoreRange {
  readonly start: number;
  readonly end: number;
}

/** What each operation takes; put, getPut and compareAndSet have their value beside it. */
export interface StoreOperations {
  readonly put: Named & { readonly options?: PutOptions; readonly sizeBytes?: number };
  /** `brief`: a value that rides on the answer comes by itself, without `found`. */
  readonly get: Named & { readonly range?: StoreRange; readonly brief?: boolean };
  readonly stat: Named;
  /** Outside of a run with a lease, which `acknowledge` or `giveBack` ends. */
  readonly take: Named & { readonly leaseMs?: number };
  readonly acknowledge: { readonly lease: number };
  readonly giveBack: { readonly lease: number };
  readonly delete: Named;
  readonly expire: Named & { readonly ttlMs?: number; readonly idleMs?: number };
  readonly list: { readonly bucket: string } & ListOptions;
  readonly increment: Named & { readonly by?: number; readonly isFloat?: boolean };
  readonly getPut: Named;
  /** Both values in one structured value: `{expected?, next}`; no `expected`: if absent. */
  readonly compareAndSet: Named & { readonly options?: PutOptions };
  readonly lock: { readonly name: string; readonly leaseMs: number };
  readonly renew: { readonly name: string; readonly token: number; readonly leaseMs: number };
  readonly unlock: { readonly name: string; readonly token: number };
  readonly createBucket: { readonly bucket: string };
  readonly destroyBucket: { readonly bucket: string };
  readonly createJob: Omit<StoreJobRequest, "id" | "namespace">;
  readonly endJob: object;
  readonly job: object;
  /** Jobs of the namespace in this shard. */
  readonly jobs: object;
  /**
   * Of every namespace in this shard: for metrics and quotas. `allowances` replace those of
   * before: what a namespace with a quota may hold in this shard now, given what it holds in the
   * others. A namespace that is not named has none, but the quota of its routing row.
   */
  readonly usage: { readonly allowances?: Readonly<Record<string, number>> };
  /** Ends every job of the namespace, persisted objects included: the namespace is no more. */
  readonly endNamespace: object;
}

/** What each operation answers; values travel beside it. */
export interface StoreAnswers {
  readonly put: PutResult;
  readonly get: { readonly found?: ObjectInfo };
  readonly stat: { readonly found?: ObjectInfo };
  readonly take: { readonly found?: ObjectInfo } & Partial<TakeLease>;
  readonly acknowledge: object;
  readonly giveBack: object;
  readonly delete: { readonly existed: boolean };
  readonly expire: { readonly existed: boolean };
  readonly list: ListPage;
  readonly increment: { readonly value: number };
  readonly getPut: { readonly found: boolean };
  readonly compareAndSet: PutResult;
  readonly lock: LockResult;
  readonly renew: LockResult;
  readonly unlock: object;
  readonly createBucket: StoreJobInfo;
  readonly destroyBucket: StoreJobInfo;
  readonly createJob: StoreJobInfo;
  readonly endJob: StoreJobInfo;
  readonly job: StoreJobInfo;
  readonly jobs: { readonly jobs: readonly StoreJobInfo[] };
  /** Counters begin at 0 with each `epoch` of the shard. */
  readonly usage: {
    readonly epoch: number;
    readonly namespaces: Readonly<Record<string, StoreUsage>>;
  };
  readonly endNamespace: { readonly jobs: number };
}

export type StoreOperationName = keyof StoreOperations;

export type StoreCall = {
  [Name in StoreOperationName]: { readonly op: Name } & StoreOperations[Name];
}[StoreOperationName];

/** A call with where it goes. The gateway sets the namespace from whom it has authorized. */
export interface StoreRequest {
  readonly shard: number;
  readonly namespace: string;
  /** `<shard>-<random>`; empty for `jobs`, `usage` and `endNamespace`. */
  readonly job: string;
  readonly call: StoreCall;
  /** Of a run's job: the attempt that asks. */
  readonly attempt?: StoreAttempt;
  /** Which immediate operation of its call it is. */
  readonly ordinal?: number;
}

/**
 * A job inside of a process: what the shard's actor hands to a call scope, and the scope to the
 * function. Errors come as data, since what crosses an isolate's border as an exception loses its
 * fields.
 */
export interface StoreTarget {
  /**
   * Octets above `STORE_LIMITS.inlineReadMaxBytes` are answered by a reader; a structured value
   * always rides on the answer. `ordinal` counts the immediate operations of a call under an
   * attempt, so that a repeated attempt gets the recorded answer (G2).
   */
  run(call: StoreCall, value?: unknown, ordinal?: number): Promise<StoreResult>;
  /**
   * An object whole: small octets that are at hand with nothing around them, which saves a fifth
   * of the operation; anything else as `run` answers a `get`.
   */
  read(bucket: string, key: string): Promise<StoreRead>;
  /** An object that arrives in chunks; `finish` puts it. */
  upload(call: StoreCall & { readonly op: "put" }, ordinal?: number): Promise<StoreUploadResult>;
}

/** Opens a job for one call; see `ShardActor`. */
export interface StoreOpening {
  readonly namespace: string;
  readonly job: string;
  /** The call that uses it, with what functions may; absent: the platform itself. */
  readonly callId?: string;
  /** The job of a run, as an attempt of its uses it; it is made if it is not there. */
  readonly attempt?: StoreAttempt;
  /** Creates the job if it is not there: the job of a call. */
  readonly create?: Omit<StoreJobRequest, "id" | "namespace">;
}

/** What call scopes ask of a shard's actor in their own process, by RPC. */
export interface ShardActor {
  /** Never rejects for what is wrong with the job: its operations answer it. */
  openStore(opening: StoreOpening): Promise<StoreTarget>;
  /** Resolves when what the opening wrote is on disk. */
  ready(): Promise<void>;
  disk(report: DiskReport): Promise<void>;
  /** Resolves once the run is on disk; from then on it ends, whatever dies. */
  startRun(start: RunStart, input: unknown): Promise<RunReply>;
  findRun(id: string, waitMs: number): Promise<RunReply>;
  /** What operators ask of the runs of a namespace, and tell them. */
  askRuns(
    namespace: string,
    asked: RunAsk,
  ): Promise<
    | { readonly ok: true; readonly value: RunAnswers[RunAsk["ask"]] }
    | { readonly ok: false; readonly error: ErrorData }
  >;
  /** The end of a session of code for the call that runs it. Rejects if there is none. */
  openCode(callId: string): Promise<CodeBridge>;
  /** Instances of workflows, through bindings. @param value parameters, or an event's payload */
  instance(ask: InstanceAsk, value: unknown): Promise<InstanceReply>;
}

/** `startRun` takes the octets of an asynchronous call, or a workflow's input as a value. */
export type RunReply =
  | { readonly ok: true; readonly value: RunTold }
  | { readonly ok: false; readonly error: ErrorData };

export type StoreResult =
  | {
      readonly ok: true;
      readonly answer: StoreAnswers[StoreOperationName];
      readonly value?: unknown;
      readonly reader?: StoreReaderTarget;
    }
  | { readonly ok: false; readonly error: ErrorData };

export type StoreRead = Uint8Array | StoreResult;

export type StoreUploadResult =
  | { readonly ok: true; readonly upload: StoreUploadTarget }
  | { readonly ok: false; readonly error: ErrorData };

export interface StoreReaderTarget {
  /**
   * Octets `[start, end)` of the object, whatever range `get` asked for; in order, several may be
   * in flight; at most `STORE_LIMITS.chunkMaxBytes` at once.
   */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** Dropping it before `finish` stores nothing. */
export interface StoreUploadTarget {
  /** In order; several may be in flight; rejects with a message that names the error's code. */
  write(chunk: Uint8Array): Promise<void>;
  finish(sizeBytes?: number): Promise<StoreResult>;
}
