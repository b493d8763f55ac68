/**
 * What a cell's process could do if somebody broke out of V8: nothing beyond its own sockets, its
 * supply and the egress. Tried by processes with the cell's own user and groups.
 */
import { execFile } from "node:child_process";
import { chmodSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { Layout, findCapabilities, identityOf, workerdPath } from "../../runtime/host/internal.ts";
import { type FixturePlatform, startFixturePlatform } from "../support/fixture-platform.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const capabilities = await findCapabilities({ reachable: [workerdPath()] });
/** Written where it is skipped: what the system lacks. */
const LACKS_USERS = capabilities.users === undefined;

async function start(): Promise<FixturePlatform & { readonly layout: Layout }> {
  const folder = temporaryFolder();
  // Users of their own must get to the data.
  chmodSync(folder, 0o755);
  const dataDir = join(folder, "data");
  const platform = await startFixturePlatform({ dataDir, cells: 2 });
  onTestFinished(() => platform.stop());
  return { ...platform, layout: new Layout(dataDir) };
}

/** What a user gets of each path: `open` if it connects to the socket or reads the file. */
const TRY = `
  const net = require("node:net"), fs = require("node:fs");
  const attempt = (path) => new Promise((resolve) => {
    if (path.endsWith(".sock")) {
      const socket = net.connect(path, () => { socket.destroy(); resolve("open"); });
      socket.on("error", (error) => resolve(error.code));
      return;
    }
    try {
      if (fs.statSync(path).isDirectory()) fs.readdirSync(path); else fs.readFileSync(path);
      resolve("open");
    } catch (error) { resolve(error.code); }
  });
  Promise.all(process.argv.slice(1).map(attempt)).then((all) => console.log(JSON.stringify(all)));
`;

function tryAs(name: "gateway" | "egress" | `cell-${number}`, paths: string[]): Promise<string[]> {
  const { uid, gid, groups } = identityOf(name, capabilities.users ?? { base: 0 });
  const others = groups.length === 0 ? ["--clear-groups"] : ["--groups", groups.join(",")];
  const user = ["--reuid", String(uid), "--regid", String(gid), ...others];
  const command = [...user, process.execPath, "-e", TRY, ...paths];
  return new Promise((resolve, reject) => {
    execFile("setpriv", command, { cwd: "/" }, (error, stdout) => {
      if (error === null) resolve(JSON.parse(stdout) as string[]);
      else reject(error);
    });
  });
}

const statusOf = (pid: number | undefined, field: string): string =>
  new RegExp(`^${field}:\\s*(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ??
  "";

describe.skipIf(LACKS_USERS)("a cell's user", () => {
  it("reaches its own sockets, its supply and the egress", async () => {
    const { layout } = await start();
    const own = [layout.cellCall(0), layout.supply(0), layout.egress(), layout.stateDir("cell-0")];
    expect(await tryAs("cell-0", own)).toEqual(["open", "open", "open", "open"]);
  });

  it("reaches nothing of the gateway, the host, other cells, or the operator", async () => {
    const { layout } = await start();
    const [state] = readdirSync(join(layout.stateDir("gateway"), "isola-registry-v1"));
    const closed = [
      layout.gatewayControl(),
      layout.host(),
      layout.supply(1),
      layout.cellCall(1),
      layout.cellControl(1),
      layout.cellControl(99),
      layout.stateDir("cell-1"),
      layout.configFile("cell-1"),
      layout.stateDir("gateway"),
      join(layout.stateDir("gateway"), "isola-registry-v1", state ?? ""),
      layout.configFile("gateway"),
      layout.blobsDir,
      layout.logsDir,
      layout.tokenFile,
      `${layout.dataDir}.key`,
      layout.processesFile,
    ];
    const answers = await tryAs("cell-0", closed);
    const reached = closed.filter((_, at) => answers[at] !== "EACCES");
    expect(reached).toEqual([]);
  });

  it("cannot put a socket of its own where another's is expected", async () => {
    const { layout } = await start();
    for (const path of [layout.cellCall(1), layout.supply(0), layout.egress(), layout.host()]) {
      const { uid } = identityOf("cell-0", capabilities.users ?? { base: 0 });
      const script = `require("node:fs").rmSync(${JSON.stringify(path)})`;
      const removed = await new Promise<boolean>((resolve) => {
        const command = ["--reuid", String(uid), "--clear-groups", process.execPath, "-e", script];
        execFile("setpriv", command, { cwd: "/" }, (error) => resolve(error === null));
      });
      expect(removed).toBe(false);
    }
  });
});

describe.skipIf(LACKS_USERS)("the gateway's user", () => {
  it("reaches the cells, not the host's secrets, and the egress does neither", async () => {
    const { layout } = await start();
    const paths = [layout.cellCall(0), layout.cellControl(99), layout.host(), layout.tokenFile];
    expect(await tryAs("gateway", paths)).toEqual(["open", "open", "open", "EACCES"]);
    expect(await tryAs("egress", paths)).toEqual(["EACCES", "EACCES", "EACCES", "EACCES"]);
  });
});

describe.skipIf(LACKS_USERS)("a cell's process", () => {
  it("has a user of its own, no privileges, and no network", async () => {
    const platform = await start();
    const pids = platform.cells().map(({ pid }) => pid);
    const users = pids.map((pid) => statusOf(pid, "Uid").split("\t")[0]);
    expect(new Set(users).size).toBe(3);
    for (const pid of pids) {
      expect(statusOf(pid, "NoNewPrivs")).toBe("1");
      expect(statusOf(pid, "CapEff")).toBe("0000000000000000");
      const network = readlinkSync(`/proc/${pid}/ns/net`);
      expect(network === readlinkSync("/proc/self/ns/net")).toBe(
        capabilities.emptyNetwork === undefined,
      );
      const interfaces = readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
      expect(interfaces.every((line) => line.trim().startsWith("lo:"))).toBe(true);
    }
  });

  it("has no privileges either where it must stay root", async () => {
    // A folder that only root enters, such as root's home.
    const dataDir = join(temporaryFolder(), "data");
    const platform = await startFixturePlatform({ dataDir });
    onTestFinished(() => platform.stop());
    for (const { pid } of platform.cells()) {
      expect(statusOf(pid, "CapEff")).toBe("0000000000000000");
    }
    expect((await platform.get("/cell/0/hello")).text).toBe("hello");
  });

  it("knows no secret of the gateway", async () => {
    const platform = await start();
    for (const { pid } of platform.cells()) {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      expect(environment).toMatch(/^ISOLA_MARK=/);
      expect(environment).not.toContain(platform.adminToken);
      expect(environment).not.toContain("SEAL_KEY");
    }
  });
});
