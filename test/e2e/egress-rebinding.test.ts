/**
 * DNS rebinding against the egress: a name that is public when it is looked at, and private next.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bundleWorker, works } from "../../runtime/host/internal.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const PROGRAM = join(import.meta.dirname, "../support/rebinding-program.ts");
const NAMESPACES = ["unshare", "--mount", "--net", "--"];
/** A namespace of its own, for a resolver of its own, takes root. */
const LACKS_NAMESPACES = !(await works([...NAMESPACES, "ip", "link", "set", "lo", "up"]));

const CONFIG = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["public"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [ (name = "http", address = "127.0.0.1:8098", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "main.js") ],
  compatibilityDate = "2026-11-01",
  bindings = [
    (name = "INTERNET", service = "internet"),
    (name = "ALLOW_PRIVATE", json = "[]"),
  ],
);
`;

interface Outcome {
  readonly answers: readonly string[];
  readonly given: readonly string[];
  readonly reached: number;
  readonly refused: number;
}

function runRebinding(configFile: string): Promise<Outcome> {
  const [file = "", ...namespaces] = NAMESPACES;
  const args = [...namespaces, process.execPath, PROGRAM, configFile, "12"];
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: 50_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout) as Outcome);
      else reject(new Error(`${error.message}\n${stderr}`));
    });
  });
}

describe.skipIf(LACKS_NAMESPACES)("a name whose address changes", () => {
  it("never leads to this machine, however often it is asked", async () => {
    const folder = temporaryFolder({ "config.capnp": CONFIG });
    writeFileSync(join(folder, "main.js"), (await bundleWorker("egress")).code);
    const outcome = await runRebinding(join(folder, "config.capnp"));
    expect(outcome.reached).toBe(0);
    // Both answers were given, and the private one was met by a refusal.
    expect(new Set(outcome.given)).toEqual(new Set(["93.184.216.34", "127.0.0.1"]));
    expect(outcome.refused).toBeGreaterThan(0);
    expect(outcome.answers.filter((answer) => answer === "passed")).toEqual([]);
  });
});
