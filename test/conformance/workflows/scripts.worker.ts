/** What is asked of the workflow through its binding, and what comes of it: the cases. */
import { ROUTINES_RUN } from "./cases.ts";
import type { Asked } from "./routines.worker.ts";

type Binding = Workflow<Asked>;
/** What the cases have beside the binding. */
export interface Tools {
  /** What the instance's rollbacks were called with. */
  readonly undone: (id: string) => Promise<unknown>;
}
type Script = (workflow: Binding, id: string, tools: Tools) => Promise<unknown>;

const pause = async (ms: number): Promise<void> => scheduler.wait(ms);
const OVER: ReadonlySet<string> = new Set(["complete", "errored", "terminated"]);

async function until(
  instance: WorkflowInstance,
  isSo: (status: string) => boolean,
  looks = 300,
): Promise<unknown> {
  for (let asked = 0; asked < looks; asked += 1) {
    const { status, output, error } = await instance.status();
    if (isSo(status)) return { status, output: output ?? null, error: error ?? null };
    await pause(20);
  }
  const { status } = await instance.status();
  return { status, isLate: true };
}

const ended = async (instance: WorkflowInstance): Promise<unknown> =>
  until(instance, (status) => OVER.has(status));

const waits = async (instance: WorkflowInstance): Promise<unknown> =>
  until(instance, (status) => status === "waiting" || status === "running");

async function caught(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return (await work()) ?? null;
  } catch (thrown) {
    const { name, message } = thrown as Error;
    return [name, message];
  }
}

/** An instance of a routine, to its end. */
const run =
  (routine: string): Script =>
  async (workflow, id) =>
    ended(await workflow.create({ id, params: { routine } }));

const rolledBack =
  (routine: string): Script =>
  async (workflow, id, { undone }) => {
    const outcome = await ended(await workflow.create({ id, params: { routine } }));
    return [outcome, await undone(id)];
  };

export const SCRIPTS: Readonly<Partial<Record<string, Script>>> = {
  ...Object.fromEntries(ROUTINES_RUN.map((routine) => [routine, run(routine)])),
  rollback: rolledBack("rollback"),
  rollbackFails: rolledBack("rollbackFails"),
  terminateWithRollback: async (workflow, id, { undone }) => {
    const instance = await workflow.create({ id, params: { routine: "rollbackWaits" } });
    await pause(300);
    await more(instance).terminate({ rollback: true });
    return [await ended(instance), await undone(id)];
  },
  terminate: async (workflow, id, { undone }) => {
    const instance = await workflow.create({ id, params: { routine: "rollbackWaits" } });
    await pause(300);
    await instance.terminate();
    const again = await caught(async () => instance.terminate());
    return [await ended(instance), await undone(id), again];
  },
  events: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "waits" } });
    await instance.sendEvent({ type: "other", payload: 0 });
    await instance.sendEvent({ type: "go", payload: 1 });
    await instance.sendEvent({ type: "go", payload: 2 });
    return ended(instance);
  },
  eventLate: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "waits" } });
    await waits(instance);
    await pause(100);
    await instance.sendEvent({ type: "go", payload: "a" });
    await pause(100);
    await instance.sendEvent({ type: "go", payload: "b" });
    return ended(instance);
  },
  eventToEnded: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "loop" } });
    await ended(instance);
    return caught(async () => instance.sendEvent({ type: "go", payload: 1 }));
  },
  raceOfLongWaits: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "race" } });
    await pause(300);
    await instance.sendEvent({ type: "go", payload: "event" });
    return until(instance, (status) => OVER.has(status), 75);
  },
  create: async (workflow, id) => {
    const first = await workflow.create({ id, params: { routine: "loop" } });
    const again = await caught(async () => workflow.create({ id, params: { routine: "loop" } }));
    return [first.id === id, String(again).replace(id, "…"), typeof first.pause];
  },
  createWithoutId: async (workflow) => {
    const { id } = await workflow.create({ params: { routine: "loop" } });
    return [typeof id, (await workflow.get(id)).id === id];
  },
  createInvalidId: async (workflow) => {
    const params = { routine: "loop" };
    return Promise.all(
      ["", "a b", "-a", "x".repeat(101)].map(async (id) =>
        caught(async () => workflow.create({ id, params })),
      ),
    );
  },
  createWithRetention: async (workflow, id) => {
    const retention = { successRetention: "3 days", errorRetention: "3 days" } as const;
    return ended(await workflow.create({ id, params: { routine: "loop" }, retention }));
  },
  createWithoutParams: async (workflow, id) => {
    const instance = await workflow.create({ id });
    return ended(instance);
  },
  get: async (workflow, id) => caught(async () => workflow.get(id)),
  createBatch: async (workflow, id) => {
    const params = { routine: "loop" };
    const batch = [`${id}1`, `${id}2`].map((one) => ({ id: one, params }));
    const first = await workflow.createBatch(batch);
    const again = await workflow.createBatch([...batch, { id: `${id}3`, params }]);
    const ids = (list: WorkflowInstance[]): string[] => list.map((one) => one.id.slice(id.length));
    return [ids(first), ids(again)];
  },
  createBatchEmpty: async (workflow) => caught(async () => workflow.createBatch([])),
  createBatchOfObjects: async (workflow, id) => {
    const batch = workflow as unknown as { createBatch(given: object): Promise<Batch> };
    const params = { routine: "loop" };
    const counted = await batch.createBatch({ count: 2, params });
    const instances = [`${id}1`, `${id}1`, `${id}2`].map((one) => ({ id: one, params }));
    await workflow.create({ id: `${id}2`, params });
    const told = await batch.createBatch({ instances });
    const bad = await caught(async () => batch.createBatch({ count: 0 }));
    const reserved = await caught(async () =>
      batch.createBatch({ instances: [{ id: "terminate" }] }),
    );
    const errors = told.errors.map((one) => ({ ...one, id: one.id?.slice(id.length) }));
    return [counted.created.length, told.created.length, errors, bad, reserved];
  },
  deleteBatch: async (workflow, id) => {
    const batch = workflow as unknown as { deleteBatch(ids: string[]): Promise<Deleted> };
    await ended(await workflow.create({ id, params: { routine: "loop" } }));
    const { deleted, errors } = await batch.deleteBatch([id, `${id}none`]);
    const told = errors.map(({ code, message }) => [code, message]);
    return [deleted.length, told, await caught(async () => workflow.get(id))];
  },
  delete: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "loop" } });
    await ended(instance);
    await more(instance).delete();
    return caught(async () => workflow.get(id));
  },
  pause: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "waits" } });
    await pause(300);
    await instance.pause();
    const paused = await until(instance, (status) => status === "paused");
    await instance.sendEvent({ type: "go", payload: 1 });
    await instance.sendEvent({ type: "go", payload: 2 });
    await pause(200);
    const still = await instance.status();
    await instance.resume();
    const again = await caught(async () => {
      await ended(instance);
      await instance.resume();
    });
    return [paused, still.status, await ended(instance), String(again).includes("cannot_resume")];
  },
  restart: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "steps" } });
    const first = (await ended(instance)) as { output: number[] };
    await instance.restart();
    await pause(100);
    const second = (await ended(instance)) as { output: number[]; status: string };
    return [second.status, first.output.map((value, at) => value === second.output[at])];
  },
  restartFrom: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "steps" } });
    const first = (await ended(instance)) as { output: number[] };
    await more(instance).restart({ from: { name: "b" } });
    await pause(100);
    const second = (await ended(instance)) as { output: number[]; status: string };
    const kept = first.output.map((value, at) => value === second.output[at]);
    const none = await caught(async () => more(instance).restart({ from: { name: "none" } }));
    return [second.status, kept, String(none).includes("cannot_restart")];
  },
  subscribe: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "loop" } });
    await ended(instance);
    return events(instance);
  },
  subscribeFiltered: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "retries" } });
    await ended(instance);
    const told = await events(instance, { filter: ["attempt_errored", "step_errored"] });
    return (told as { type: string }[]).map(({ type }) => type);
  },
  subscribeInvalid: async (workflow, id) => {
    const instance = await workflow.create({ id, params: { routine: "loop" } });
    return caught(async () => events(instance, { cursor: -1 }));
  },
};

/** What the types of this release do not tell of, or tell otherwise. */
interface More {
  terminate(options: object): Promise<void>;
  restart(options: object): Promise<void>;
  delete(): Promise<void>;
  subscribe(options: object): Promise<Told>;
}

const more = (instance: WorkflowInstance): More => instance as unknown as More;

interface Batch {
  readonly created: WorkflowInstance[];
  readonly errors: { readonly id?: string; readonly code: number; readonly message: string }[];
}

interface Deleted {
  readonly deleted: unknown[];
  readonly errors: { readonly code: number; readonly message: string }[];
}

/** What is told of an instance that has ended. */
async function events(instance: WorkflowInstance, options: object = {}): Promise<unknown> {
  const told = await more(instance).subscribe(options);
  const all: object[] = [];
  for (;;) {
    const { done, value } = await told.next();
    if (done === true || !value) return all;
    const { type, stepName, attempt } = value;
    all.push({
      type,
      ...(stepName !== undefined && { stepName }),
      ...(attempt !== undefined && { attempt }),
    });
  }
}

interface Told {
  next(): Promise<{ done?: boolean; value?: Record<string, unknown> }>;
}
