/** The Workflows engine bundled with workerd, around the cases. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningWorkerd, startWorkerd } from "../../support/workerd.ts";

const ENGINE = `(name = "wf", worker = (
    modules = [(name = "workflows.js", bundled = "/workerd/workflows.js")],
    compatibilityDate = "2026-11-01",
    durableObjectStorage = (localDisk = "state"),
    bindings = [(name = "workflow:probe", durableObjectNamespace =
      (className = "miniflare-workflows-probe", serviceName = "main"))],
  )),`;
const PROPS = `(json = "{\\"workflow\\":\\"probe\\"}")`;
const WORKER = `workflowsEngine = (
    actorClass = (name = "wf", entrypoint = "Engine"),
    workflows = [(className = "Probe", name = "probe", bindingService =
      (name = "wf", entrypoint = "WorkflowBinding", props = ${PROPS}))],
  ),`;

export async function startBundledEngine(): Promise<RunningWorkerd> {
  const folder = await mkdtemp(join(tmpdir(), "isola-bundled-"));
  const state = `(name = "state", disk = (path = "${folder}", writable = true)),`;
  const engine = await startWorkerd({
    entry: "test/conformance/workflows/bundled.worker.ts",
    services: `${ENGINE} ${state}`,
    worker: WORKER,
    isExperimental: true,
  });
  return {
    ...engine,
    stop: async () => {
      await engine.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
