/** Jobs and buckets of the store (INTERFACE §7); their objects are in `admin-objects.worker.ts`. */
import {
  IsolaError,
  STORE_LIMITS,
  newJobId,
  toIsolaError,
  type StoreJobInfo,
} from "../contract/index.ts";
import { OBJECT_ROUTES } from "./admin-objects.worker.ts";
import {
  type AdminCall,
  type AdminRoute,
  json,
  noContent,
  readFields,
} from "./admin-route.worker.ts";
import { askShard, shardsOf } from "./ask-shard.worker.ts";
import { flag, integer, number, oneOf, optional, record, text } from "./request-fields.ts";
import { listJobs } from "./list-jobs.worker.ts";
import { askJob, requireNamespace } from "./job-call.worker.ts";
import { checkLength, checkQuery, queryNumber } from "./store-request.ts";

const NAME_MAX = 200;
const HINT_MAX = 2 ** 40;

const JOB_FIELDS = {
  name: text(1, NAME_MAX),
  durability: optional(oneOf(["memory", "disk"])),
  workflow: optional(text(1, NAME_MAX)),
  hints: optional(
    record({
      capacityMb: optional(number(0, HINT_MAX)),
      peakMbps: optional(number(0, HINT_MAX)),
      latencySensitive: optional(flag()),
      calls: optional(integer(0, HINT_MAX)),
    }),
  ),
};

export const STORE_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/store/jobs",
    needs: "read",
    handle: async ({ state, namespace, query }) => {
      checkQuery(query, []);
      requireNamespace(state, namespace);
      return json(await listJobs(state, namespace));
    },
  },
  {
    method: "POST",
    path: "/store/jobs",
    needs: "operate",
    handle: async (call) => {
      const info = await createJob(call);
      return json({ jobId: info.id, ...info }, 201);
    },
  },
  {
    method: "GET",
    path: "/store/jobs/:job",
    needs: "read",
    handle: async (call) => json(await askJob(call, { op: "job" }, [])),
  },
  {
    method: "DELETE",
    path: "/store/jobs/:job",
    needs: "operate",
    handle: async (call) => json(await askJob(call, { op: "endJob" }, [])),
  },
  {
    method: "GET",
    path: "/store/jobs/:job/buckets/:bucket",
    needs: "read",
    handle: async (call) => json(await listObjects(call)),
  },
  {
    method: "PUT",
    path: "/store/jobs/:job/buckets/:bucket",
    needs: "operate",
    handle: async (call) => {
      const bucket = checkLength("bucket", call.param("bucket"));
      return json(await askJob(call, { op: "createBucket", bucket }, []));
    },
  },
  {
    method: "DELETE",
    path: "/store/jobs/:job/buckets/:bucket",
    needs: "operate",
    handle: async (call) => {
      const bucket = checkLength("bucket", call.param("bucket"));
      await askJob(call, { op: "destroyBucket", bucket }, []);
      return noContent();
    },
  },
  ...OBJECT_ROUTES,
];

/** A new job goes to a shard by chance, and past those that are down. */
async function createJob(call: AdminCall): Promise<StoreJobInfo> {
  const { state, namespace } = call;
  const attempted = "create a store job";
  checkQuery(call.query, []);
  requireNamespace(state, namespace);
  const body = await readFields(call, JOB_FIELDS, attempted);
  const { durability = "memory", ...rest } = body;
  const asked = { op: "createJob", kind: "client", durability, ...rest } as const;
  const shards = shardsOf(state);
  const first = Math.floor(state.random.fraction() * shards.length);
  let refusal: IsolaError | undefined;
  for (const step of shards) {
    const shard = (first + step) % shards.length;
    const question = { shard, namespace, job: newJobId(shard, state.random), call: asked };
    try {
      return (await askShard<"createJob">(state, question)).answer;
    } catch (thrown) {
      refusal = toIsolaError(thrown, attempted);
      if (refusal.code !== "CELL_RESTARTING") throw refusal;
    }
  }
  throw refusal ?? new IsolaError("CELL_RESTARTING", { attempted, found: "no shard" });
}

async function listObjects(call: AdminCall): Promise<unknown> {
  const { query } = call;
  const prefix = query.get("prefix");
  const cursor = query.get("cursor");
  const limit = queryNumber(query, "limit") ?? STORE_LIMITS.listMaxKeys;
  const asked = {
    op: "list",
    bucket: checkLength("bucket", call.param("bucket")),
    limit,
    ...(prefix === null ? {} : { prefix: checkLength("prefix", prefix) }),
    ...(cursor === null ? {} : { cursor: checkLength("cursor", cursor) }),
  } as const;
  const { objects, ...page } = await askJob<"list">(call, asked, ["prefix", "limit", "cursor"]);
  return { items: objects, ...page };
}
