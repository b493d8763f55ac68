/**
 * Group commit of a shard: what is written in one tick is one commit, and answers wait for it.
 *
 * workerd commits by itself at the end of every turn of its event loop, one fsync each (0.25 ms).
 * So statements that change something are collected and run together at the end of the tick,
 * which lasts as long as requests are ready to be served: 32 writers share one fsync.
 *
 * C1 Statements reach SQLite in the order in which they were asked for.
 * C2 A question is answered after everything written before it (S1). From then on the tick writes
 *    at once, so that one piece of work is never split between two commits.
 * C3 `durable` grows only after the storage has confirmed; ticks do not overlap.
 * C4 After a failed commit nothing is run or confirmed any more: the actor ends, once (S3).
 */
import type { Log, Sql, SqlValue, Statement } from "../../contract/index.ts";

/** The actor's storage and event loop, as narrow as the log needs them. */
export interface CommitSeams {
  run(query: string, parameters: readonly SqlValue[]): readonly unknown[];
  atomically<T>(body: () => T): T;
  /** Resolves once everything that was run is on disk. */
  sync(): Promise<void>;
  /** Calls back when the requests that are ready now have had their turn. */
  later(callback: () => void): void;
  /** The components' last word before each commit. */
  beforeCommit(): void;
  /** The actor must end (C4). */
  failed(reason: unknown): void;
  /** Octets that go to disk: for who watches free space. */
  wrote(bytes: number): void;
}

interface Write {
  readonly query: string;
  readonly parameters: readonly SqlValue[];
}

interface Waiting {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

const READS = /^\s*(SELECT|PRAGMA|EXPLAIN)\b/i;

export class CommitLog implements Log, Sql {
  readonly #seams: CommitSeams;
  #position = 1;
  #durable = 0;
  #writes: Write[] = [];
  /** Something has reached SQLite in this tick already (C2). */
  #isDirect = false;
  #isTicking = false;
  #isCommitting = false;
  #waiting: Waiting | undefined;
  #committing: Waiting | undefined;
  #failure: { readonly reason: unknown } | undefined;

  constructor(seams: CommitSeams) {
    this.#seams = seams;
  }

  get position(): number {
    return this.#position;
  }

  get durable(): number {
    return this.#durable;
  }

  all<P extends readonly SqlValue[], R>({ query }: Statement<P, R>, ...parameters: P): R[] {
    this.#checkAlive();
    if (READS.test(query)) {
      this.#flush();
      return this.#seams.run(query, parameters) as R[];
    }
    this.#tickLater();
    this.#seams.wrote(sizeOf(parameters));
    if (this.#isDirect) this.#run({ query, parameters });
    else this.#writes.push({ query, parameters });
    return [];
  }

  transaction<T>(body: () => T): T {
    this.#checkAlive();
    this.#tickLater();
    this.#flush();
    this.#isDirect = true;
    return this.#seams.atomically(body);
  }

  async committed(position: number): Promise<void> {
    if (position <= this.#durable) return;
    this.#checkAlive();
    if (position < this.#position) {
      this.#committing ??= waiting();
      return this.#committing.promise;
    }
    this.#tickLater();
    this.#waiting ??= waiting();
    return this.#waiting.promise;
  }

  /** The actor ends for a reason of its own: whoever waits for a commit learns it. */
  fail(reason: unknown): void {
    if (this.#failure) return;
    this.#failure = { reason };
    this.#writes = [];
    this.#waiting?.reject(reason);
    this.#committing?.reject(reason);
    this.#seams.failed(reason);
  }

  #tickLater(): void {
    if (this.#isTicking || this.#isCommitting) return;
    this.#isTicking = true;
    this.#seams.later(() => void this.#tick());
  }

  async #tick(): Promise<void> {
    if (this.#failure) return;
    try {
      this.#seams.beforeCommit();
      const hasWritten = this.#isDirect || this.#writes.length > 0;
      this.#flush();
      this.#isDirect = false;
      this.#isTicking = false;
      const position = this.#position;
      this.#committing = this.#waiting;
      this.#waiting = undefined;
      this.#position += 1;
      this.#isCommitting = true;
      if (hasWritten) await this.#seams.sync();
      this.#isCommitting = false;
      this.#durable = position;
      this.#committing?.resolve();
      this.#committing = undefined;
      if (this.#writes.length > 0 || this.#isDirect || this.#waiting) this.#tickLater();
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  /** Runs what was collected; what follows in this tick goes the same way at once (C2). */
  #flush(): void {
    if (this.#writes.length === 0) return;
    this.#isDirect = true;
    const writes = this.#writes;
    this.#writes = [];
    for (const write of writes) this.#run(write);
  }

  #run({ query, parameters }: Write): void {
    try {
      this.#seams.run(query, parameters);
    } catch (thrown) {
      this.fail(thrown);
      throw thrown;
    }
  }

  #checkAlive(): void {
    if (this.#failure) throw this.#failure.reason;
  }
}

function waiting(): Waiting {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  // Who waits hears of it; nobody has to.
  promise.catch(() => {});
  return { promise, resolve: () => resolve(undefined), reject };
}

function sizeOf(parameters: readonly SqlValue[]): number {
  let bytes = 64;
  for (const value of parameters) {
    if (typeof value === "string") bytes += value.length;
    else if (value instanceof Uint8Array) bytes += value.byteLength;
  }
  return bytes;
}
