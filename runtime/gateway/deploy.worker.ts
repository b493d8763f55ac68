/**
 * Deploy: read, store, probe, register, spread.
 *
 * D1 Until the registry's transaction nothing is visible; a deploy that fails before it takes its
 *    bundle away again, unless a version or another deploy needs it.
 * D2 Deploys of one function run one after the other, so that the last to be sent is the last to
 *    be live.
 * D3 It goes on when its client leaves: half a deploy would otherwise be left to chance.
 */
import {
  DEFAULT_COMPATIBILITY_DATE,
  IsolaError,
  LIMITS,
  REPLAY_LIMITS,
  checkFunctionName,
  functionKey,
  isWorkflow,
  resolveConfig,
  systemClock,
  type DeployMetadata,
  type DeployResult,
  type FunctionForm,
  type ResolvedConfig,
} from "../contract/index.ts";
import { type Deployed, bundleText, contentHash, sha256Hex } from "../registry/index.ts";
import { type AdminCall, json } from "./admin-route.worker.ts";
import { oldestRun, replayRuns } from "./ask-runs.worker.ts";
import {
  DEPLOY_BODY_MAX_BYTES,
  type ModulePart,
  buildBundle,
  parseMetadata,
} from "./bundle-form.ts";
import { probeBundle } from "./probe.worker.ts";
import { readBytes } from "./request-body.ts";
import { queryFlag } from "./request-fields.ts";
import { Room } from "./room.ts";
import type { Applied, GatewayState } from "./state.worker.ts";
import { sleep } from "./system-timers.worker.ts";

/** Bytes of deploys being read at once; beyond, a deploy waits, then is refused. */
const READING_MAX_BYTES = 2 * DEPLOY_BODY_MAX_BYTES;
const ROOM = { clock: systemClock, sleep, waitMaxMs: 10_000, leaseMs: 60_000 } as const;

interface Package {
  readonly metadata: DeployMetadata;
  readonly text: string;
  readonly hash: string;
  readonly bytes: number;
}

interface Evaluated {
  readonly form: FunctionForm;
  readonly entrypoints: readonly string[];
  readonly config: ResolvedConfig;
}

export async function deployFunction(call: AdminCall): Promise<Response> {
  const name = checkFunctionName(call.param("name"));
  const isDryRun = queryFlag(call.query, "dryRun");
  const work = deploy(call, name, isDryRun);
  // D3
  call.background.waitUntil(work.catch(() => undefined));
  return json(await work);
}

async function deploy(call: AdminCall, name: string, isDryRun: boolean): Promise<DeployResult> {
  const { state } = call;
  await state.ready();
  checkRoom(state, name);
  const read = await readingRoom.enter("", announcedBytes(call.request), () =>
    readPackage(call.request, `deploy ${name}`),
  );
  // Refused early, before anything is stored.
  checkBackend(resolveConfig(read.metadata.config));
  // D2
  const turn = functionKey(call.namespace, name);
  return turns.enter(turn, 1, () => deployPackage(call, name, read, isDryRun));
}

async function deployPackage(
  call: AdminCall,
  name: string,
  read: Package,
  isDryRun: boolean,
): Promise<DeployResult> {
  const { state, namespace } = call;
  const { clock, bundles } = state;
  const startedAtMs = clock.now();
  try {
    await bundles.put(read.hash, read.text);
    const storedAtMs = clock.now();
    const evaluated = await evaluate(state, namespace, name, read);
    const probedAtMs = clock.now();
    const replay = await replayed(call, name, read, evaluated);
    const applied = await register(call, name, read, evaluated, isDryRun);
    const { registerMs, spreadMs, value } = applied;
    const [storeMs, probeMs] = [storedAtMs - startedAtMs, probedAtMs - storedAtMs];
    bundles.letGo(read.hash);
    if (isDryRun) await bundles.removeUnnamed([read.hash]);
    return {
      namespace,
      name,
      version: value.version,
      bundleHash: read.hash,
      bundleBytes: read.bytes,
      form: evaluated.form,
      created: value.created,
      dryRun: isDryRun,
      traffic: value.traffic,
      config: evaluated.config,
      ...(replay && { replay }),
      timing: { storeMs, probeMs, registerMs, spreadMs },
    };
  } catch (thrown) {
    // D1
    bundles.letGo(read.hash);
    await bundles.removeUnnamed([read.hash]);
    throw thrown;
  }
}

async function evaluate(
  state: GatewayState,
  namespace: string,
  name: string,
  read: Package,
): Promise<Evaluated> {
  const given = read.metadata.config;
  const probe = (compatibilityDate: string, compatibilityFlags: readonly string[]) =>
    probeBundle(state, {
      namespace,
      name,
      bundleHash: read.hash,
      compatibilityDate,
      compatibilityFlags,
      envNames: [...Object.keys(given?.env ?? {}), ...(given?.secrets ?? [])],
    });
  const date = given?.compatibilityDate ?? DEFAULT_COMPATIBILITY_DATE;
  const flags = given?.compatibilityFlags ?? [];
  const first = await probe(date, flags);
  let config = resolveConfig(given, first.config);
  let { form, entrypoints, config: exported } = first;
  if (config.compatibilityDate !== date || !sameFlags(config.compatibilityFlags, flags)) {
    const second = await probe(config.compatibilityDate, config.compatibilityFlags);
    config = resolveConfig(given, second.config);
    ({ form, entrypoints, config: exported } = second);
  }
  // A run may sleep for days: it is bounded only if somebody says so.
  if (isWorkflow(form)) config = resolveConfig(given, exported, { timeoutMs: 0 });
  checkBackend(config);
  checkBlock(config, state.table.namespace(namespace)?.cells === "dedicated");
  return { form, entrypoints, config };
}

/** Open runs of a workflow in code form against its new code, which changes nothing for them. */
async function replayed(
  { state, namespace }: AdminCall,
  name: string,
  read: Package,
  { form, config }: Evaluated,
): Promise<DeployResult["replay"]> {
  if (form !== "workflow") return undefined;
  return replayRuns(state, {
    namespace,
    workflow: name,
    bundleHash: read.hash,
    compatibilityDate: config.compatibilityDate,
    compatibilityFlags: config.compatibilityFlags,
    envNames: [...Object.keys(config.env), ...config.secrets],
    timeoutMs: REPLAY_LIMITS.timeoutMs,
  });
}

async function register(
  call: AdminCall,
  name: string,
  read: Package,
  evaluated: Evaluated,
  isDryRun: boolean,
): Promise<Applied<Deployed>> {
  const oldestRunMs = isDryRun ? undefined : await oldestRun(call.state, call.namespace);
  const input = {
    namespace: call.namespace,
    name,
    bundleHash: read.hash,
    bundleBytes: read.bytes,
    contentHash: await contentHash(read.hash, evaluated.config),
    form: evaluated.form,
    entrypoints: evaluated.entrypoints,
    config: evaluated.config,
    percent: read.metadata.traffic ?? 100,
    dryRun: isDryRun,
    ...(oldestRunMs !== undefined && { oldestRunMs }),
  };
  return call.state.change("deploy", input, call.background);
}

async function readPackage(request: Request, attempted: string): Promise<Package> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^multipart\/form-data\s*;/i.test(type)) {
    throw new IsolaError("MEDIA_UNSUPPORTED", {
      attempted,
      found: `content type ${JSON.stringify(type.slice(0, 100))}`,
      required: "multipart/form-data",
      fix: "send metadata and modules as parts of a form",
    });
  }
  const limit = { maxBytes: DEPLOY_BODY_MAX_BYTES, attempted, code: "BUNDLE_TOO_LARGE" } as const;
  const bytes = await readBytes(request, limit);
  const form = await parseForm(bytes, type, attempted);
  const { metadata, parts } = await readParts(form, attempted);
  const built = buildBundle(metadata.main, parts, attempted);
  const text = bundleText(built.bundle);
  return { metadata, text, hash: await sha256Hex(text), bytes: built.bytes };
}

async function parseForm(
  bytes: Uint8Array<ArrayBuffer>,
  type: string,
  attempted: string,
): Promise<FormData> {
  try {
    return await new Response(bytes, { headers: { "content-type": type } }).formData();
  } catch (thrown) {
    const found = thrown instanceof Error ? thrown.message : String(thrown);
    throw new IsolaError("INPUT_MALFORMED", {
      attempted,
      found: `a form that cannot be read (${found.slice(0, 200)})`,
    });
  }
}

async function readParts(
  form: FormData,
  attempted: string,
): Promise<{ metadata: DeployMetadata; parts: ModulePart[] }> {
  let metadata: DeployMetadata | undefined;
  const parts: ModulePart[] = [];
  for (const [name, value] of form as Iterable<[string, string | File]>) {
    if (name === "metadata") {
      if (metadata !== undefined) throw malformed(attempted, "two parts named metadata");
      const text = typeof value === "string" ? value : await value.text();
      metadata = parseMetadata(text, attempted);
      continue;
    }
    if (typeof value === "string") {
      throw malformed(attempted, `part ${JSON.stringify(name.slice(0, 100))} without a file name`);
    }
    const bytes = new Uint8Array(await value.arrayBuffer());
    parts.push({ name: value.name, type: value.type, bytes });
  }
  if (metadata === undefined) throw malformed(attempted, "no part named metadata");
  return { metadata, parts };
}

function malformed(attempted: string, found: string): IsolaError {
  const required = "one part metadata and the modules as files";
  return new IsolaError("INPUT_MALFORMED", { attempted, found, required });
}

/** Refuses what would end in a full disk or in a platform that is gone. */
function checkRoom(state: GatewayState, name: string): void {
  const attempted = `deploy ${name}`;
  if (state.load().isDraining) {
    const found = "a platform that is shutting down";
    throw new IsolaError("DRAINING", { attempted, found, retryAfterSeconds: 5 });
  }
  const { diskFreeBytes = Number.POSITIVE_INFINITY } = state.hostMetrics;
  if (diskFreeBytes >= LIMITS.diskReserveBytes) return;
  throw new IsolaError("DISK_FULL", {
    attempted,
    found: `${diskFreeBytes} bytes free`,
    required: `${LIMITS.diskReserveBytes} bytes kept free for what runs`,
  });
}

function checkBackend(config: ResolvedConfig): void {
  if (config.backend === "isolate") return;
  throw new IsolaError("BACKEND_UNAVAILABLE", {
    attempted: "deploy a function",
    found: `backend ${config.backend}`,
    required: "backend isolate",
  });
}

/** A neighbour's wait is bounded (G6); who needs the thread for longer gets cells of its own. */
function checkBlock(config: ResolvedConfig, isDedicated: boolean): void {
  if (isDedicated || config.maxBlockMs <= LIMITS.sharedBlockMaxMs) return;
  throw new IsolaError("CONFIG_INVALID", {
    attempted: 'use option "maxBlockMs" in shared cells',
    found: `${config.maxBlockMs} ms`,
    required: `at most ${LIMITS.sharedBlockMaxMs} ms, or a namespace with dedicated cells`,
    fix: "yield with await, or isola namespace update NS --cells dedicated",
  });
}

function sameFlags(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((flag) => other.includes(flag));
}

function announcedBytes(request: Request): number {
  const announced = Number(request.headers.get("content-length") ?? Number.NaN);
  return Number.isFinite(announced) && announced >= 0
    ? Math.min(announced, DEPLOY_BODY_MAX_BYTES)
    : DEPLOY_BODY_MAX_BYTES;
}

const readingRoom = new Room({ capacity: READING_MAX_BYTES, ...ROOM });
const turns = new Room({ capacity: 1, ...ROOM });
