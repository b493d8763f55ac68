/** The registry as the gateway sees it: typed questions to one actor, errors rebuilt from data. */
import { IsolaError } from "../contract/index.ts";
import { damagedFile, noRoom, storageError } from "./damage.ts";
import type { ChangeName, Changed, Changes, ReadName, Reads, Tagged } from "./operations.ts";

/** Directory of the actor's files; part of the data format (`uniqueKey` in workerd's config). */
const DIRECTORY = "isola-registry-v1";
const OBJECT_NAME = "registry";
/** How reads look that were under way when their actor was replaced. */
const RESET = new Set<string>(["DISK_FULL", "INTERNAL"]);

/** The actor's file, relative to the gateway's state directory. */
export function registryFile(id: DurableObjectId): string {
  return `${DIRECTORY}/${id.toString()}.sqlite`;
}

/** The actor's methods as they look from outside. */
interface RegistryStub {
  read(name: ReadName, input: unknown): Promise<Tagged<unknown>>;
  change(name: ChangeName, input: unknown, since: number): Promise<Tagged<unknown>>;
}

export interface RegistryClient {
  read<K extends ReadName>(name: K, input: Parameters<Reads[K]>[0]): Promise<ReturnType<Reads[K]>>;
  /** Errors: those of the operation, `DISK_FULL`, `DATA_CORRUPT`; then nothing was changed. */
  change<K extends ChangeName>(
    name: K,
    input: Parameters<Changes[K]>[0],
    since: number,
  ): Promise<Changed<ReturnType<Changes[K]>>>;
}

/** @param hasRoom whether the disk takes more: workerd does not say why an actor did not open. */
export function createRegistryClient(
  namespace: DurableObjectNamespace,
  hasRoom: () => Promise<boolean>,
): RegistryClient {
  const id = namespace.idFromName(OBJECT_NAME);
  const file = registryFile(id);
  // A stub that saw its actor fail stays broken, so each question takes a new one.
  const stub = () => namespace.get(id) as unknown as RegistryStub;
  let hasAnswered = false;
  const ask = async (attempted: string, send: () => Promise<Tagged<unknown>>): Promise<unknown> => {
    let answer: Tagged<unknown>;
    try {
      answer = await send();
    } catch (thrown) {
      const error = storageError(thrown, attempted, file);
      if (error.code === "INTERNAL" && !(await hasRoom())) throw noRoom(attempted, file);
      // An actor that never came up cannot say why: workerd could not open its file.
      if (error.code === "INTERNAL" && !hasAnswered) throw damagedFile(file, error.parts.found);
      throw error;
    }
    if (!answer.ok) throw IsolaError.fromData(answer.error);
    hasAnswered = true;
    return answer.value;
  };
  const read = async (name: ReadName, input: unknown): Promise<unknown> => {
    const send = () => ask(`read ${name}`, () => stub().read(name, input));
    // A failed commit breaks whatever its actor had under way; the next actor knows all the same.
    return send().catch((thrown: unknown) => {
      const isOver = thrown instanceof IsolaError && !RESET.has(thrown.code);
      if (isOver) throw thrown;
      return send();
    });
  };
  return {
    read: async (name, input) => (await read(name, input)) as never,
    change: async (name, input, since) =>
      (await ask(`store ${name}`, () => stub().change(name, input, since))) as never,
  };
}
