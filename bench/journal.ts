/** Everything a run measured, as records in the order in which they came: NDJSON with `--json`. */
import { writeFileSync } from "node:fs";

/** One load on one target in one round. */
export interface LoadRecord {
  readonly type: "load";
  readonly phase: "calls" | "scale" | "fizzbuzz" | "creation" | "disk";
  readonly round: number;
  readonly target: string;
  readonly clients: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly busy: number;
  /** CPU time of each of the target's processes, in microseconds a call. */
  readonly cpuMicroseconds: Readonly<Record<string, number>>;
  readonly histogram: string;
}

/** The start of one isolate. */
export interface StartRecord {
  readonly type: "start";
  readonly target: string;
  /** From the beginning of the deploy request; absent where nothing is deployed. */
  readonly deployMs?: number;
  /** From the first call to its answer. */
  readonly firstAnswerMs: number;
  /** False if the platform says that the isolate was there already: not counted. */
  readonly cold: boolean;
}

/** Memory of the process that holds the isolates. */
export interface MemoryRecord {
  readonly type: "memory";
  readonly target: string;
  readonly isolates: number;
  readonly pssBytes: number;
  readonly anonymousBytes: number;
}

/** Isolates that had left when memory was read: it was not the memory of as many as it says. */
export interface EvictedRecord {
  readonly type: "evicted";
  readonly target: string;
  readonly isolates: number;
}

/** Operations on a store in one request, timed by who asked for them. */
export interface BatchRecord {
  readonly type: "batch";
  readonly round: number;
  readonly name: string;
  /** 0: what goes around the operations of the same case. */
  readonly count: number;
  readonly sizeBytes: number;
  readonly elapsedMs: number;
  /** CPU time of the processes that did it, in steps of 10 ms: only sums mean something. */
  readonly cpuMs: number;
  /** Octets that were to be read, and those that were. */
  readonly wantedOctets: number;
  readonly octets: number;
}

/** Compositions of one size, one after the other. */
export interface FlowRecord {
  readonly type: "flow";
  readonly composition: "chain" | "fan";
  readonly round: number;
  readonly target: string;
  /** Steps of the chain, or width of the fan-out. */
  readonly size: number;
  /** Of one composition: the median of those of the round. */
  readonly elapsedMs: number;
  /** CPU time of one, of all processes together; in steps of 10 ms over all of the round. */
  readonly cpuMs: number;
  readonly wrong: number;
}

/** Octets of the platform's databases after so many runs had ended. */
export interface DiskRecord {
  readonly type: "disk";
  readonly target: string;
  readonly runs: number;
  readonly bytes: number;
}

/** Memory of the cell while so many runs wait. */
export interface WaitingRecord {
  readonly type: "waiting";
  readonly target: string;
  readonly runs: number;
  readonly anonymousBytes: number;
}

/** A cell was killed with runs in flight. Times count from the kill. */
export interface RecoveryRecord {
  readonly type: "recovery";
  readonly round: number;
  readonly runs: number;
  /** Until there is a new process. */
  readonly restartMs: number;
  /** Until the first step of a run that was in flight began. */
  readonly firstStepMs: number;
  /** Runs that did not end with the right answer. */
  readonly wrong: number;
}

/** The same target at the same moment, loaded by wrk. */
export interface CrossCheckRecord {
  readonly type: "wrk";
  readonly target: string;
  readonly clients: number;
  readonly callsPerSecond: number;
  readonly ownCallsPerSecond: number;
}

export interface NoteRecord {
  readonly type: "provenance" | "options" | "figure" | "verdict" | "note";
  readonly value: unknown;
}

export type BenchRecord =
  | LoadRecord
  | StartRecord
  | MemoryRecord
  | EvictedRecord
  | BatchRecord
  | FlowRecord
  | DiskRecord
  | WaitingRecord
  | RecoveryRecord
  | CrossCheckRecord
  | NoteRecord;

export class Journal {
  readonly #records: BenchRecord[] = [];

  add(record: BenchRecord): void {
    this.#records.push(record);
  }

  of<Type extends BenchRecord["type"]>(
    type: Type,
  ): readonly Extract<BenchRecord, { readonly type: Type }>[] {
    return this.#records.filter(
      (record): record is Extract<BenchRecord, { readonly type: Type }> => record.type === type,
    );
  }

  write(file: string): void {
    writeFileSync(file, this.#records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  }
}
