/** Namespaces, their secrets and their tokens. */
import {
  HOST_CONTROL,
  IsolaError,
  LIMITS,
  ROLES,
  checkNamespaceName,
  type CellPlacement,
  type CellsReport,
  type Quotas,
} from "../contract/index.ts";
import { importSealKey, makeToken, sealSecret } from "../registry/index.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { askHost } from "./ask-host.worker.ts";
import {
  type AdminCall,
  type AdminRoute,
  items,
  json,
  noContent,
  readFields,
} from "./admin-route.worker.ts";
import { callbackKey } from "./callbacks.worker.ts";
import { listJobs } from "./list-jobs.worker.ts";
import {
  confidential,
  integer,
  oneOf,
  optional,
  queryFlag,
  record,
  text,
} from "./request-fields.ts";
import type { StoreMeter } from "./store-meter.worker.ts";

const QUOTA_MAX = 2 ** 48;
const SECRET_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

const cells = oneOf(["shared", "dedicated"]);
const quotas = record({
  functionsMax: optional(integer(0, QUOTA_MAX)),
  bundleTotalMaxBytes: optional(integer(0, QUOTA_MAX)),
  callsPerSecondMax: optional(integer(0, QUOTA_MAX)),
  inFlightMax: optional(integer(0, QUOTA_MAX)),
  storeMaxBytes: optional(integer(0, QUOTA_MAX)),
} satisfies Record<keyof Quotas, unknown>);

/** Routes below `/v1`. */
export const PLATFORM_NAMESPACE_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/namespaces",
    needs: "any",
    handle: async ({ state, principal }) => {
      if (principal.namespace === "*") return items(await state.registry.read("namespaces", null));
      return items([await state.registry.read("namespace", { namespace: principal.namespace })]);
    },
  },
  {
    method: "POST",
    path: "/namespaces",
    needs: "operator",
    handle: async (call) => {
      const attempted = "create a namespace";
      const fields = { namespace: text(1, 200), cells: optional(cells), quotas: optional(quotas) };
      const body = await readFields(call, fields, attempted);
      return json(await createNamespace(call, body), 201);
    },
  },
];

interface NamespaceBody {
  readonly namespace: string;
  readonly cells?: CellPlacement;
  readonly quotas?: Partial<Quotas>;
}

async function createNamespace(call: AdminCall, body: NamespaceBody): Promise<unknown> {
  const { state, background } = call;
  const namespace = checkNamespaceName(body.namespace);
  const placement = body.cells ?? "shared";
  await state.ready();
  if (placement === "dedicated") {
    if (state.table.namespace(namespace)) throw exists(namespace);
    await dedicate(call, namespace, 1);
  }
  try {
    const input = { namespace, cells: placement, quotas: body.quotas ?? {} };
    // What a former namespace of that name stored is nobody's to inherit.
    await storeOf(call).finishEnding(namespace);
    const { value } = await state.change("createNamespace", input, background);
    await tellQuota(call, body);
    return value;
  } catch (thrown) {
    if (placement === "dedicated" && !state.table.namespace(namespace)) {
      background.waitUntil(dedicate(call, namespace, 0));
    }
    throw thrown;
  }
}

/** Routes below `/v1/namespaces/:namespace`. */
export const NAMESPACE_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "",
    needs: "read",
    handle: async ({ state, namespace }) =>
      json(await state.registry.read("namespace", { namespace })),
  },
  {
    method: "PATCH",
    path: "",
    needs: "operator",
    handle: async (call) => {
      const attempted = `change namespace ${call.namespace}`;
      const fields = { cells: optional(cells), quotas: optional(quotas) };
      const body = await readFields(call, fields, attempted);
      return json(await updateNamespace(call, body));
    },
  },
  {
    method: "DELETE",
    path: "",
    needs: "operator",
    handle: async (call) => {
      const { state, namespace, background } = call;
      await state.ready();
      const isDedicated = state.table.namespace(namespace)?.cells === "dedicated";
      const force = queryFlag(call.query, "force");
      if (!force) await refuseJobs(call);
      await state.change("removeNamespace", { namespace, force }, background);
      state.authority.forget();
      await storeOf(call).endNamespace(namespace);
      if (isDedicated) background.waitUntil(dedicate(call, namespace, 0));
      return noContent();
    },
  },
];

async function updateNamespace(
  call: AdminCall,
  body: Omit<NamespaceBody, "namespace">,
): Promise<unknown> {
  const { state, namespace, background } = call;
  await state.ready();
  const before = state.table.namespace(namespace)?.cells;
  if (before === "shared" && body.cells === "dedicated") await dedicate(call, namespace, 1);
  const placement = body.cells === undefined ? {} : { cells: body.cells };
  const input = { namespace, ...placement, quotas: body.quotas ?? {} };
  const { value } = await state.change("updateNamespace", input, background);
  await tellQuota(call, body);
  if (before === "dedicated" && value.cells === "shared") {
    background.waitUntil(dedicate(call, namespace, 0));
  }
  return value;
}

/** Shards learn of quotas by the gateway's questions: the next one is due now. */
async function tellQuota(call: AdminCall, body: Pick<NamespaceBody, "quotas">): Promise<void> {
  if (body.quotas?.storeMaxBytes === undefined) return;
  await storeOf(call).collect();
}

function storeOf({ state }: AdminCall): StoreMeter {
  return gatewayOf(() => state.bindings).store;
}

/** @throws IsolaError `CONFLICT` while the store holds anything of the namespace's. */
async function refuseJobs(call: AdminCall): Promise<void> {
  const { items: jobs } = await listJobs(call.state, call.namespace);
  const { length } = jobs.filter((job) => job.endedAtMs === undefined || job.objects > 0);
  if (length === 0) return;
  throw new IsolaError("CONFLICT", {
    attempted: `remove namespace ${call.namespace}`,
    found: `${length} store job${length === 1 ? "" : "s"} in it`,
    required: "an empty namespace",
    fix: "end its jobs first, or force the removal",
  });
}

function exists(namespace: string): IsolaError {
  return new IsolaError("ALREADY_EXISTS", {
    attempted: `create namespace ${namespace}`,
    found: "a namespace of that name",
  });
}

/** Has the host start a namespace's own cells, or stop them with 0. */
async function dedicate(call: AdminCall, namespace: string, count: number): Promise<void> {
  const { state, background } = call;
  const attempted = `give namespace ${namespace} cells of its own`;
  const message = { namespace, cells: count };
  const report = await askHost(state, HOST_CONTROL.dedicate, message, attempted);
  state.reportCells(report as CellsReport, background);
}

export const SECRET_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/secrets",
    needs: "read",
    handle: async ({ state, namespace }) =>
      items(await state.registry.read("secrets", { namespace })),
  },
  {
    method: "GET",
    path: "/callback-key",
    needs: "deploy",
    handle: async ({ state, namespace, background }) => {
      await state.registry.read("namespace", { namespace });
      return json({ key: await callbackKey(state, namespace, background) });
    },
  },
  {
    method: "PUT",
    path: "/secrets/:name",
    needs: "deploy",
    handle: async (call) => json(await putSecret(call)),
  },
  {
    method: "DELETE",
    path: "/secrets/:name",
    needs: "deploy",
    handle: async (call) => {
      const input = { namespace: call.namespace, name: call.param("name") };
      await call.state.change("removeSecret", input, call.background);
      return noContent();
    },
  },
];

async function putSecret(call: AdminCall): Promise<unknown> {
  const { state, namespace } = call;
  const name = call.param("name");
  if (!SECRET_NAME.test(name) || name === "ISOLA") {
    throw new IsolaError("NAME_INVALID", {
      attempted: "put a secret",
      found: `the name ${JSON.stringify(name.slice(0, 100))}`,
      required: "letters, digits and _, not beginning with a digit, other than ISOLA",
      fix: "choose another name",
    });
  }
  const attempted = `put secret ${name}`;
  const fields = { value: confidential(text(0, LIMITS.secretMaxBytes)) };
  const { value } = await readFields(call, fields, attempted);
  const bytes = new TextEncoder().encode(value).byteLength;
  if (bytes > LIMITS.secretMaxBytes) {
    throw new IsolaError("REQUEST_INVALID", {
      attempted,
      found: `${bytes} bytes`,
      required: `at most ${LIMITS.secretMaxBytes} bytes`,
    });
  }
  const key = await importSealKey(state.bindings.sealKey);
  const sealed = await sealSecret(key, { namespace, name }, value, state.random);
  const input = { namespace, name, sealed, bytes };
  return (await state.change("putSecret", input, call.background)).value;
}

export const TOKEN_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/tokens",
    needs: "admin",
    handle: async ({ state, namespace }) =>
      items(await state.registry.read("tokens", { namespace })),
  },
  {
    method: "POST",
    path: "/tokens",
    needs: "admin",
    handle: async (call) => {
      const attempted = "create a token";
      const fields = { role: optional(oneOf(ROLES)), label: optional(text(0, 200)) };
      const body = await readFields(call, fields, attempted);
      const { id, hash, token } = await makeToken(call.state.random);
      const role = body.role ?? "deploy";
      const input = { namespace: call.namespace, id, hash, role, label: body.label ?? "" };
      const { value } = await call.state.change("createToken", input, call.background);
      return json({ ...value, token }, 201);
    },
  },
  {
    method: "DELETE",
    path: "/tokens/:id",
    needs: "admin",
    handle: async (call) => {
      const input = { namespace: call.namespace, id: call.param("id") };
      await call.state.change("removeToken", input, call.background);
      call.state.authority.forget();
      return noContent();
    },
  },
];
