/** The ephemeral store: jobs, and the objects in their buckets. */
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type {
  StoreBody,
  StoreBucketClient,
  StorePutOptions,
  StoredObject,
} from "../../client/index.ts";
import {
  IsolaError,
  STORE_TIERS,
  type ObjectInfo,
  type StoreJobInfo,
} from "../../contract/index.ts";
import { type Command, type CommandContext, required } from "../command.ts";
import { readAll } from "../io.ts";
import { age, bytes, fields, span, table } from "../render/text.ts";

export const storeCommands: readonly Command[] = [
  {
    name: "store jobs",
    summary: "list the jobs of a namespace",
    run: listJobs,
  },
  {
    name: "store create",
    summary: "make a job and print its id",
    arguments: "<name>",
    run: createJob,
  },
  {
    name: "store end",
    summary: "end a job: everything in it goes but what is persisted",
    arguments: "<job>",
    async run(context, job) {
      const id = required(job, "job");
      const info = await context.client().store.job(id).end();
      context.show(info, () => `ended store job ${id}`);
    },
  },
  {
    name: "store buckets",
    summary: "list the buckets of a job",
    arguments: "<job>",
    async run(context, job) {
      const { buckets } = await context.client().store.job(required(job, "job")).info();
      context.show({ items: buckets }, () => buckets.join("\n") || "no buckets");
    },
  },
  {
    name: "store list",
    aliases: ["ls"],
    summary: "list the objects of a bucket",
    arguments: "<job>",
    run: listObjects,
  },
  {
    name: "store get",
    summary: "print an object, or write it to a file",
    arguments: "<job> <key> [file]",
    run: getObject,
  },
  {
    name: "store put",
    summary: "store a file, or standard input",
    arguments: "<job> <key> [file]",
    run: putObject,
  },
  {
    name: "store remove",
    aliases: ["delete", "rm"],
    summary: "remove an object; without a key the bucket that is named, with all in it",
    arguments: "<job> [key]",
    run: remove,
  },
  {
    name: "store stat",
    summary: "show an object; without a key the job: bytes by tier, most at once, time",
    arguments: "<job> [key]",
    run: showStat,
  },
];

function bucketOf(context: CommandContext, job: string | undefined): StoreBucketClient {
  return context.client().store.job(required(job, "job")).bucket(context.option("bucket"));
}

const bytesOf = ({ usage }: StoreJobInfo): number => usage.heldBytes;

async function listJobs(context: CommandContext): Promise<void> {
  const list = await context.client().store.jobs();
  context.show(list, () =>
    table(
      list.items,
      [
        { title: "job", value: ({ id }) => id },
        { title: "name", value: ({ name }) => name },
        { title: "kind", value: ({ kind }) => kind },
        { title: "objects", value: ({ objects }) => objects, isNumber: true },
        { title: "bytes", value: (job) => bytes(bytesOf(job)), isNumber: true },
        { title: "created", value: ({ createdAtMs }) => age(createdAtMs) },
        { title: "state", value: ({ endedAtMs }) => (endedAtMs === undefined ? "open" : "ended") },
      ],
      "no jobs",
    ),
  );
  for (const { shard, cell, message } of list.missing) {
    context.note(`shard ${String(shard)} of cell ${String(cell)} is missing: ${message}`);
  }
  // A list with a hole is none that a script should go on with.
  if (list.missing.length > 0) context.exitStatus = 1;
}

async function createJob(context: CommandContext, name: string | undefined): Promise<void> {
  const capacityMb = context.option("capacityMb");
  const info = await context.client().store.createJob({
    name: required(name, "name"),
    durability: context.option("durability"),
    workflow: context.option("workflow"),
    hints: capacityMb === undefined ? undefined : { capacityMb },
  });
  // The id alone, so that a script takes it as it is.
  context.show(info, () => info.id);
}

async function listObjects(context: CommandContext, job: string | undefined): Promise<void> {
  const bucket = bucketOf(context, job);
  const prefix = context.option("prefix");
  const limit = context.option("limit") ?? Number.MAX_SAFE_INTEGER;
  const items: ObjectInfo[] = [];
  for await (const object of bucket.objects(prefix === undefined ? {} : { prefix })) {
    if (items.length >= limit) break;
    items.push(object);
  }
  context.show({ items }, () =>
    table(
      items,
      [
        { title: "key", value: ({ key }) => key },
        { title: "bytes", value: ({ sizeBytes }) => sizeBytes, isNumber: true },
        { title: "kind", value: ({ kind }) => kind },
        { title: "tier", value: ({ tier }) => tier },
        { title: "persist", value: ({ persist }) => (persist ? "yes" : "-") },
        { title: "expires", value: expiryOf },
        { title: "created", value: ({ createdAtMs }) => age(createdAtMs) },
      ],
      "no objects",
    ),
  );
}

function expiryOf({ expiresAtMs }: ObjectInfo): string {
  return expiresAtMs === undefined ? "-" : `in ${span(Math.max(0, expiresAtMs - Date.now()))}`;
}

async function getObject(
  context: CommandContext,
  job: string | undefined,
  key: string | undefined,
  file: string | undefined,
): Promise<void> {
  const bucket = bucketOf(context, job);
  const named = required(key, "key");
  const range = await rangeOf(context, bucket, named);
  const object = await bucket.get(named, range === undefined ? {} : { range });
  if (file === undefined || file === "-") {
    await printObject(context, object);
    return;
  }
  // Under its name stands the whole object, or what stood there before.
  const partial = `${file}.partial`;
  try {
    await context.progress(
      `reading ${named}`,
      pipeline(readableOf(object), createWriteStream(partial)),
    );
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw fileFault(error, `write ${file}`);
  }
}

/** What the option names; its last octets are counted from the object's end. */
async function rangeOf(
  context: CommandContext,
  bucket: StoreBucketClient,
  key: string,
): Promise<{ start: number; end?: number } | undefined> {
  const [first, last] = context.option("range")?.split("-") ?? [];
  if (first === undefined) return undefined;
  if (first !== "") {
    const start = Number(first);
    return last === undefined || last === "" ? { start } : { start, end: Number(last) + 1 };
  }
  const sizeBytes = (await bucket.stat(key))?.sizeBytes ?? 0;
  return { start: Math.max(0, sizeBytes - Number(last)) };
}

function readableOf(object: StoredObject): Readable {
  const { body } = object;
  return body === null ? Readable.from([]) : Readable.fromWeb(body as never);
}

async function printObject(context: CommandContext, object: StoredObject): Promise<void> {
  const { stdout } = context.io;
  for await (const chunk of readableOf(object)) {
    if (!stdout.write(chunk)) await new Promise((resume) => stdout.once("drain", resume));
  }
  if (object.info.kind === "value" && stdout.isTTY === true) context.print("");
}

async function putObject(
  context: CommandContext,
  job: string | undefined,
  key: string | undefined,
  file: string | undefined,
): Promise<void> {
  const named = required(key, "key");
  const { body, sizeBytes } = await sourceOf(context, file);
  const options: StorePutOptions = {
    ...putOptions(context),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
  const bucket = bucketOf(context, job);
  const asJson = context.option("valueType") === "json";
  const work = asJson
    ? bucket.putValue(named, await jsonOf(body), putOptions(context))
    : bucket.put(named, body, options);
  const result = await context.progress(`storing ${named}`, work);
  context.show(result, () => `stored ${named} (version ${String(result.version)})`);
}

function putOptions(context: CommandContext): StorePutOptions {
  const [ttlMs, idleMs] = [context.option("ttlMs"), context.option("idleMs")];
  const durability = context.option("durability");
  const ifVersion = context.option("ifVersion");
  return {
    ...(context.option("persist") ? { persist: true } : {}),
    ...(context.option("ifAbsent") ? { ifAbsent: true } : {}),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(idleMs === undefined ? {} : { idleMs }),
    ...(durability === undefined ? {} : { durability }),
    ...(ifVersion === undefined ? {} : { ifVersion }),
  };
}

interface Source {
  readonly body: StoreBody;
  /** Of a file, which is refused if it ends before. */
  readonly sizeBytes?: number;
}

async function sourceOf(context: CommandContext, file: string | undefined): Promise<Source> {
  if (file === undefined || file === "-") {
    if (file === undefined && context.io.stdin.isTTY === true) {
      context.note("reading standard input until Ctrl-D");
    }
    return { body: Readable.toWeb(context.io.stdin) as unknown as StoreBody };
  }
  const stats = await stat(file).catch((error: unknown) => {
    throw fileFault(error, `read ${file}`);
  });
  if (!stats.isFile()) throw fileRefusal("what is no plain file", `read ${file}`);
  const body = Readable.toWeb(createReadStream(file)) as unknown as StoreBody;
  return { body, sizeBytes: stats.size };
}

async function jsonOf(body: StoreBody): Promise<unknown> {
  const text = (await readAll(Readable.fromWeb(body as never))).toString("utf8");
  try {
    return JSON.parse(text);
  } catch {
    throw new IsolaError("USAGE", {
      attempted: "read the value",
      found: "what is no JSON",
      required: "JSON, with --as json",
      fix: "leave --as out to store the octets as they are",
    });
  }
}

function fileFault(error: unknown, attempted: string): unknown {
  if (error instanceof IsolaError) return error;
  return fileRefusal(error instanceof Error ? error.message : String(error), attempted);
}

function fileRefusal(found: string, attempted: string): IsolaError {
  return new IsolaError("USAGE", {
    attempted,
    found,
    required: "a file that can be used",
    fix: "check the file's name and its folder",
  });
}

async function remove(
  context: CommandContext,
  job: string | undefined,
  key: string | undefined,
): Promise<void> {
  const bucket = bucketOf(context, job);
  if (key !== undefined) {
    if (!(await bucket.delete(key))) throw notFound(key, bucket.name);
    context.show({ removed: key }, () => `removed ${key}`);
    return;
  }
  if (context.find("bucket").origin === "default") {
    throw new IsolaError("USAGE", {
      attempted: "remove from the store",
      found: "neither a key nor --bucket",
      required: "a key, or --bucket to remove all of one",
    });
  }
  await bucket.remove();
  context.show({ removed: bucket.name }, () => `removed bucket ${bucket.name}`);
}

function notFound(key: string, bucket: string): IsolaError {
  return new IsolaError("OBJECT_NOT_FOUND", {
    attempted: "find an object",
    found: `none ${JSON.stringify(key)} in bucket ${bucket}`,
  });
}

async function showStat(
  context: CommandContext,
  job: string | undefined,
  key: string | undefined,
): Promise<void> {
  if (key === undefined) {
    const info = await context.client().store.job(required(job, "job")).info();
    context.show(info, () => jobText(info));
    return;
  }
  const bucket = bucketOf(context, job);
  const info = await bucket.stat(key);
  if (!info) throw notFound(key, bucket.name);
  context.show(info, () => objectText(info));
}

function jobText(info: StoreJobInfo): string {
  const { usage } = info;
  const state = info.endedAtMs === undefined ? "open" : `ended ${age(info.endedAtMs)}`;
  const expected = info.expectedBytes === undefined ? undefined : bytes(info.expectedBytes);
  const head = fields([
    ["job", info.id],
    ["name", info.name],
    ["kind", `${info.kind}, ${info.durability}`],
    ["state", state],
    ["created", age(info.createdAtMs)],
    ["objects", info.objects],
    ["buckets", info.buckets.join(", ") || "-"],
    ["expected", expected],
    ["held", `${bytes(usage.heldBytes)}, at most ${bytes(usage.heldHighWaterBytes)}`],
    ["operations", usage.operations],
    ["in, out", `${bytes(usage.bytesIn)}, ${bytes(usage.bytesOut)}`],
    ["lost", info.lost],
  ]);
  const tiers = table(
    STORE_TIERS.map((tier) => ({ tier })),
    [
      { title: "tier", value: ({ tier }) => tier },
      { title: "bytes", value: ({ tier }) => bytes(usage.bytes[tier]), isNumber: true },
      { title: "most", value: ({ tier }) => bytes(usage.highWaterBytes[tier]), isNumber: true },
      {
        title: "byte-s",
        value: ({ tier }) => Math.round(usage.byteSeconds[tier]),
        isNumber: true,
      },
    ],
    "",
  );
  return `${head}\n\n${tiers}`;
}

function objectText(info: ObjectInfo): string {
  return fields([
    ["key", info.key],
    ["bucket", info.bucket],
    ["version", info.version],
    ["bytes", info.sizeBytes],
    ["kind", info.kind],
    ["tier", `${info.tier}, ${info.durability}`],
    ["persist", info.persist ? "yes" : "no"],
    ["expires", info.expiresAtMs === undefined ? undefined : expiryOf(info)],
    ["idle", info.idleMs === undefined ? undefined : span(info.idleMs)],
    ["created", age(info.createdAtMs)],
  ]);
}
