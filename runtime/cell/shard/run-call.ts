/** One operation of the store, from its data to its answer. Throws errors of the catalogue. */
import {
  IsolaError,
  STORE_LIMITS,
  type StoreAnswers,
  type StoreCall,
  type StoreJobInfo,
  type StoreOperationName,
  type StoreOperations,
  type StoreRange,
  type StoredValue,
} from "../../contract/index.ts";
import type { ObjectReader, OperationId, Reply, Session, Store } from "../../../store/index.ts";
import { ofItsOwn, plainValue, storedValue } from "./stored-value.ts";

/** The job that an operation is on; the session is opened once and kept. */
export interface JobView {
  readonly store: Store;
  readonly namespace: string;
  readonly job: string;
  session(): Session;
  /** Of every namespace: answers the operation `usage`, which only the platform may ask. */
  allow(allowances: Readonly<Record<string, number>>): void;
  /** The namespace's runs go with its jobs; answers the position. */
  endRuns(): number;
}

/** An answer that leaves once `position` is on disk; a reader is to be released. */
export interface Outcome {
  readonly position: number;
  readonly answer: StoreAnswers[StoreOperationName];
  readonly value?: unknown;
  readonly reader?: ObjectReader;
}

type Runner<Name extends StoreOperationName> = (
  view: JobView,
  call: StoreOperations[Name],
  value: unknown,
  operation: OperationId | undefined,
) => Outcome | Promise<Outcome>;

const NOTHING_MORE = {};

const RUNNERS: { readonly [Name in StoreOperationName]: Runner<Name> } = {
  put: async (view, { bucket, key, options }, value, operation) =>
    answered(await view.session().put(bucket, key, storedValue(value), options, operation)),
  get: async (view, { bucket, key, range, brief }) => {
    const { value: reader, position } = view.session().open(bucket, key);
    const outcome = await readOut(position, reader, range, {});
    return brief === true && outcome.value !== undefined
      ? { position, answer: NOTHING_MORE, value: outcome.value }
      : outcome;
  },
  stat: (view, { bucket, key }) => {
    const { value: found, position } = view.session().stat(bucket, key);
    return { position, answer: found ? { found } : {} };
  },
  take: async (view, { bucket, key, leaseMs }) => {
    const { value: taken, position } = view.session().take(bucket, key, leaseMs);
    if (!taken) return { position, answer: {} };
    const { reader, ...lease } = taken;
    return readOut(position, reader, undefined, lease);
  },
  acknowledge: (view, { lease }) => done(view.session().acknowledge(lease)),
  giveBack: (view, { lease }) => done(view.session().giveBack(lease)),
  delete: (view, { bucket, key }) => existed(view.session().delete(bucket, key)),
  expire: (view, { bucket, key, ttlMs, idleMs }) =>
    existed(
      view.session().expire(bucket, key, {
        ...(ttlMs === undefined ? {} : { ttlMs }),
        ...(idleMs === undefined ? {} : { idleMs }),
      }),
    ),
  list: (view, { bucket, prefix, cursor, limit }) =>
    answered(
      view.session().list(bucket, {
        ...(prefix === undefined ? {} : { prefix }),
        ...(cursor === undefined ? {} : { cursor }),
        ...(limit === undefined ? {} : { limit }),
      }),
    ),
  increment: async (view, { bucket, key, by, isFloat }, _value, operation) => {
    const options = {
      ...(by === undefined ? {} : { by }),
      ...(isFloat === undefined ? {} : { isFloat }),
    };
    const { value, position } = await view.session().increment(bucket, key, options, operation);
    return { position, answer: { value } };
  },
  getPut: async (view, { bucket, key }, value, operation) => {
    const reply = await view.session().getPut(bucket, key, storedValue(value), operation);
    const { value: former, position } = reply;
    if (!former) return { position, answer: { found: false } };
    return { position, answer: { found: true }, value: plainValue(former) };
  },
  compareAndSet: async (view, { bucket, key, options }, value, operation) => {
    const { expected, next } = bothValues(value);
    const session = view.session();
    return answered(await session.compareAndSet(bucket, key, expected, next, options, operation));
  },
  lock: (view, { name, leaseMs }, _value, operation) =>
    answered(view.session().lock(name, leaseMs, operation)),
  renew: (view, { name, token, leaseMs }) => answered(view.session().renew(name, token, leaseMs)),
  unlock: (view, { name, token }, _value, operation) =>
    done(view.session().unlock(name, token, operation)),
  createBucket: ({ store, namespace, job }, { bucket }) =>
    answered(store.createBucket(namespace, job, bucket)),
  destroyBucket: ({ store, namespace, job }, { bucket }) =>
    answered(store.destroyBucket(namespace, job, bucket)),
  createJob: ({ store, namespace, job }, { name, kind, durability, workflow, hints }) =>
    answered(
      store.createJob({
        id: job,
        namespace,
        name,
        kind,
        durability,
        ...(workflow === undefined ? {} : { workflow }),
        ...(hints === undefined ? {} : { hints }),
      }),
    ),
  endJob: ({ store, namespace, job }) => answered(store.endJob(namespace, job)),
  job: ({ store, namespace, job }) => answered(store.job(namespace, job)),
  jobs: ({ store, namespace }) => ({ position: 0, answer: { jobs: store.jobs(namespace) } }),
  usage: (view, { allowances }) => {
    if (allowances) view.allow(allowances);
    const { store } = view;
    const namespaces = Object.fromEntries(store.usageByNamespace());
    return { position: 0, answer: { epoch: store.epoch, namespaces } };
  },
  endNamespace: (view) => {
    const { store, namespace } = view;
    const { length } = store.jobs(namespace);
    const ended = view.endRuns();
    // Those of runs went with them, unless something of them was persisted.
    const left = store.jobs(namespace);
    const position = Math.max(ended, ...left.map((job) => endWhole(store, namespace, job)));
    return { position, answer: { jobs: length } };
  },
};

export function runCall(
  view: JobView,
  call: StoreCall,
  value: unknown,
  operation?: OperationId,
): Outcome | Promise<Outcome> {
  // The name and what the operation takes belong together, which the union says and a lookup not.
  const run = RUNNERS[call.op] as Runner<StoreOperationName>;
  return run(view, call, value, operation);
}

function answered(reply: Reply<StoreAnswers[StoreOperationName]>): Outcome {
  return { position: reply.position, answer: reply.value };
}

function done({ position }: Reply<void>): Outcome {
  return { position, answer: {} };
}

function existed({ value, position }: Reply<boolean>): Outcome {
  return { position, answer: { existed: value } };
}

/** Small octets and structured values ride on the answer; the rest is read from the reader. */
async function readOut(
  position: number,
  reader: ObjectReader | undefined,
  range: StoreRange | undefined,
  more: object,
): Promise<Outcome> {
  if (!reader) return { position, answer: {} };
  const { info } = reader;
  const answer = { found: info, ...more };
  try {
    if (info.kind === "value" && !range) {
      const whole = await reader.whole();
      reader.release();
      return { position, answer, value: plainValue(whole) };
    }
    const { start, end } = range ?? { start: 0, end: info.sizeBytes };
    const isSmall = end - start <= STORE_LIMITS.inlineReadMaxBytes;
    // An impossible range is refused by the read, however long it is.
    if (!isSmall && end <= info.sizeBytes) return { position, answer, reader };
    const value = ofItsOwn(await reader.read(start, end));
    reader.release();
    return { position, answer, value };
  } catch (thrown) {
    reader.release();
    throw thrown;
  }
}

function bothValues(value: unknown): { expected: StoredValue | undefined; next: StoredValue } {
  const both = value as { readonly expected?: unknown; readonly next?: unknown } | null | undefined;
  // As a value it has been looked at; what is in it is looked at by itself.
  if (storedValue(value).kind !== "value" || typeof both !== "object" || both?.next === undefined) {
    throw new IsolaError("VALUE_INVALID", {
      attempted: "compare and set",
      found: "no value to set",
      required: "{expected?, next}",
    });
  }
  const { expected, next } = both;
  return {
    expected: expected === undefined ? undefined : storedValue(expected),
    next: storedValue(next),
  };
}

/** Ends a job with what it persisted; answers the position. */
function endWhole(store: Store, namespace: string, { id, buckets }: StoreJobInfo): number {
  const { position } = store.endJob(namespace, id);
  const left = buckets.map((bucket) => destroyed(store, namespace, id, bucket));
  return Math.max(position, ...left);
}

/** A job that had nothing persisted is gone with its end. */
function destroyed(store: Store, namespace: string, id: string, bucket: string): number {
  try {
    return store.destroyBucket(namespace, id, bucket).position;
  } catch (thrown) {
    if (thrown instanceof IsolaError) return 0;
    throw thrown;
  }
}
