/** The first look at a cell's shards: whether what is on disk can be read. */
import { IsolaError } from "../../contract/index.ts";
import type { CellShards } from "../cell-bindings.worker.ts";
import { warn } from "../stdout.worker.ts";
import { storageFault } from "./storage-fault.ts";

/**
 * Resolves when all of them are open. On a full disk a shard opens later, with the first request
 * that finds space: functions need not wait for it.
 *
 * @throws IsolaError `DATA_CORRUPT` naming the shard's files
 */
export async function openShards(shards: CellShards): Promise<void> {
  await Promise.all(shards.own.map((shard) => openShard(shards, shard)));
}

async function openShard(shards: CellShards, shard: number): Promise<void> {
  const actor = shards.actor(shard);
  try {
    await actor.ready();
  } catch (thrown) {
    const error = storageFault(thrown, `open shard ${String(shard)}`);
    if (error.code !== "DISK_FULL") throw damaged(shard, actor, error);
    warn(`shard ${String(shard)} stays closed until the disk has space`);
  }
}

/** An actor that never came up cannot say why: workerd could not open or read its file. */
function damaged(shard: number, actor: object, error: IsolaError): IsolaError {
  const { id } = actor as Partial<Pick<DurableObjectStub, "id">>;
  const file = `state/isola-shard-v1/${String(id)}.sqlite or its file in state/isola-blocks-v1`;
  return new IsolaError("DATA_CORRUPT", {
    attempted: `open shard ${String(shard)}`,
    found: `${file} is damaged: ${error.parts.found.slice(0, 200)}`,
    required: "the files as they were written",
    fix: "Restore both from a backup, or delete both to lose this shard's runs and objects.",
  });
}
