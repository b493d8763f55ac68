import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import {
  Layout,
  LineReader,
  NO_CAPABILITIES,
  SHARD_KEYS,
  cellConfig,
  decodeAddress,
  dedicateSlots,
  egressConfig,
  gatewayConfig,
  identityOf,
  openData,
  parseDedicated,
  parseHalfClosed,
  parseMemory,
  parseMounts,
  parseOwnGroups,
  parseStat,
  quote,
  renderConfig,
  sandboxCommand,
  shortSocketRoot,
} from "../../runtime/host/internal.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

function codeOf(run: () => unknown): { code: string; message: string } | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof IsolaError ? error : undefined;
  }
}

const socketLine = (local: string, remote: string, state: string): string =>
  `   0: ${local} ${remote} ${state} 00000000:00000000\n`;

describe("what Linux says of processes", () => {
  it("is read past a name with spaces and parentheses", () => {
    const fields = ["S", ...Array.from({ length: 40 }, (_, at) => String(at + 4))];
    const stat = parseStat(`12 (a) b (c) ${fields.join(" ")}`);
    expect(stat).toEqual({ state: "S", cpuMs: (14 + 15) * 10, startTicks: "22" });
  });

  it("counts anonymous and shared memory apart from pages of files", () => {
    const text = "VmRSS:\t  900 kB\nRssAnon:\t  300 kB\nRssFile:\t  500 kB\nRssShmem:\t  100 kB\n";
    const bytes = { residentBytes: 900 * 1_024, anonymousBytes: 400 * 1_024 };
    expect(parseMemory(text)).toEqual(bytes);
  });

  it("names half-closed clients as workerd does", () => {
    const head = "  sl  local_address rem_address   st\n";
    const text =
      head +
      socketLine("0100007F:1F90", "0100007F:C350", "08") +
      socketLine("0100007F:1F90", "0100007F:C351", "01") +
      socketLine("0100007F:1F91", "0100007F:C352", "08");
    expect(parseHalfClosed(text, 8_080)).toEqual(["127.0.0.1:50000"]);
    expect(decodeAddress("0000000000000000FFFF00000100007F:C350")).toBe("[::ffff:127.0.0.1]:50000");
    expect(decodeAddress("00000000000000000000000001000000:C350")).toBe("[::1]:50000");
  });

  it("tells the two versions of cgroups apart", () => {
    const mounts = parseMounts(
      "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n" +
        "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n",
    );
    expect(mounts.map(({ kind }) => kind)).toEqual(["cgroup", "cgroup2"]);
    const own = parseOwnGroups("4:memory:/a:b\n3:cpu,cpuacct:/c\n0::/d\n");
    expect([own.get("memory"), own.get("cpuacct"), own.get("")]).toEqual(["/a:b", "/c", "/d"]);
  });
});

describe("lines of output", () => {
  it("come whole, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 7 }), (text, step) => {
        const lines: string[] = [];
        const reader = new LineReader((line) => lines.push(line));
        const bytes = new TextEncoder().encode(`${text}\nend`);
        for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
        reader.end();
        const whole = new TextDecoder().decode(bytes);
        expect(lines).toEqual(whole.split("\n"));
      }),
    );
  });
});

describe("workerd's configuration", () => {
  const layout = new Layout('/data with "quotes"');

  it("quotes whatever a path or a setting holds", () => {
    expect(quote('a"b\\c\nd')).toBe(String.raw`"a\"b\\c\x0ad"`);
    expect(quote("é")).toBe(String.raw`"\xc3\xa9"`);
  });

  it("gives a cell nothing but its own sockets, the loader and no network", () => {
    const settings = {
      slot: 3,
      role: "shared",
      maxIsolates: 10,
      shards: 4,
      ownShards: [3],
    } as const;
    const text = renderConfig(cellConfig(layout, settings, 512));
    expect(text).toContain("--max-old-space-size=384");
    expect(text).toContain('name = "nowhere", network = (allow = [])');
    expect(text).toContain('globalOutbound = "nowhere"');
    expect(text).not.toContain("supply-4");
    expect(text).not.toContain("gateway");
    expect(text).not.toContain("host.sock");
  });

  it("gives a disk and the shards' classes to cells with shards only", () => {
    const common = { slot: 3, role: "shared", maxIsolates: 10, shards: 4 } as const;
    const textOf = (ownShards: readonly number[]): string =>
      renderConfig(cellConfig(layout, { ...common, ownShards }, 512));
    for (const key of SHARD_KEYS) {
      expect(textOf([3])).toContain(
        `uniqueKey = "${key}", enableSql = true, preventEviction = true`,
      );
    }
    expect(textOf([3])).toContain(`disk = (path = ${quote(layout.stateDir("cell-3"))}`);
    expect(textOf([])).not.toMatch(/durableObject|disk = /);
  });

  it("names every slot for the gateway, and no secret", () => {
    const settings = {
      form: "host",
      dev: false,
      publicPort: 8_080,
      version: "1",
      startedAtMs: 0,
      otlpEndpoint: "",
      otlpHeaders: "",
    } as const;
    const text = renderConfig(gatewayConfig(layout, settings));
    for (const slot of [0, 15, 99]) expect(text).toContain(`"CELLCTL_${slot}"`);
    expect(text).toContain('fromEnvironment = "ISOLA_SEAL_KEY"');
    expect(text).not.toContain("OTLP");
  });

  it("lets out to public addresses, and to those that the operator names", () => {
    const text = renderConfig(egressConfig(layout, ["10.0.0.0/8"]));
    expect(text).toContain('allow = ["public", "10.0.0.0/8"]');
  });
});

describe("the command line of a process", () => {
  const request = {
    lockFile: "/l",
    hostPid: 7,
    command: ["workerd"],
    identity: undefined,
    withoutNetwork: true,
  };

  it("is bare where the system can do nothing", () => {
    expect(sandboxCommand({ ...request, capabilities: NO_CAPABILITIES })).toEqual(["workerd"]);
  });

  it("leaves the network before it drops the right to", () => {
    const capabilities = {
      ...NO_CAPABILITIES,
      setpriv: "setpriv",
      flock: "flock",
      emptyNetwork: ["unshare", "--net", "--"],
    };
    const identity = identityOf("cell-2", { base: 64_000 });
    const command = sandboxCommand({ ...request, capabilities, identity }).join(" ");
    expect(command).toMatch(/^unshare --net -- setpriv --pdeathsig KILL --no-new-privs/);
    expect(command).toContain("--reuid 64002 --regid 64002 --groups 64102");
    expect(command).toMatch(/7 flock -n -F \/l workerd$/);
  });
});

describe("slots", () => {
  it("go to a namespace, stay with it, and come back", () => {
    const one = dedicateSlots(new Map(), 2, "a", 2);
    expect(one.get("a")).toEqual([2, 3]);
    const two = dedicateSlots(one, 2, "b", 1);
    expect(two.get("b")).toEqual([4]);
    const three = dedicateSlots(two, 2, "a", 1);
    expect(three.get("a")).toEqual([2]);
    expect(dedicateSlots(three, 2, "c", 2).get("c")).toEqual([3, 5]);
    expect(dedicateSlots(three, 2, "a", 0).has("a")).toBe(false);
  });

  it("are refused beyond the last one, and nothing changes", () => {
    const before = dedicateSlots(new Map(), 10, "a", 6);
    expect(codeOf(() => dedicateSlots(before, 10, "b", 1))?.code).toBe("CAPACITY");
    expect(before.size).toBe(1);
  });

  it("that are shared now, or given twice, are not restored", () => {
    const text = JSON.stringify({ a: [1, 5, "x"], b: [5, 6], c: "no" });
    expect([...parseDedicated(text, 2)]).toEqual([
      ["a", [5]],
      ["b", [6]],
    ]);
    expect(parseDedicated("{", 2).size).toBe(0);
  });
});

const open = (dataDir: string, changes: { shards?: number } = {}) =>
  openData({ dataDir, keyFile: undefined, shards: 1, release: "0.1.0", ...changes });

describe("a data directory", () => {
  it("is made once: token, key and shards stay", () => {
    const dataDir = join(temporaryFolder(), "data");
    const first = open(dataDir, { shards: 3 });
    first.close(false);
    const second = open(dataDir, { shards: 9 });
    expect(second).toMatchObject({ adminToken: first.adminToken, sealKey: first.sealKey });
    expect(second.shards).toBe(3);
    second.close(false);
    expect(statSync(join(dataDir, "admin-token")).mode & 0o777).toBe(0o600);
    expect(statSync(`${dataDir}.key`).mode & 0o777).toBe(0o600);
  });

  it("belongs to one platform at a time, in this process too", () => {
    const dataDir = join(temporaryFolder(), "data");
    const first = open(dataDir);
    expect(codeOf(() => open(dataDir))?.code).toBe("DATA_IN_USE");
    first.close(false);
    open(dataDir).close(false);
  });

  it("that a failed first start made is taken back", () => {
    const folder = temporaryFolder();
    const dataDir = join(folder, "data");
    open(dataDir).close(true);
    expect(() => statSync(dataDir)).toThrow("ENOENT");
    expect(() => statSync(`${dataDir}.key`)).toThrow("ENOENT");
  });

  it("of an unknown format is refused", () => {
    const dataDir = join(temporaryFolder(), "data");
    open(dataDir).close(false);
    const file = join(dataDir, "platform.json");
    const known = JSON.parse(readFileSync(file, "utf8")) as object;
    writeFileSync(file, JSON.stringify({ ...known, format: 99, release: "9.0.0" }));
    const error = codeOf(() => open(dataDir));
    expect(error?.code).toBe("DATA_VERSION");
    expect(error?.message).toContain("9.0.0");
  });

  it("with a damaged file is refused, by name", () => {
    for (const [name, text] of [
      ["platform.json", '{"format": 1'],
      ["platform.json", '{"format": 1}'],
      ["admin-token", "x"],
    ] as const) {
      const dataDir = join(temporaryFolder(), "data");
      open(dataDir).close(false);
      writeFileSync(join(dataDir, name), text);
      const error = codeOf(() => open(dataDir));
      expect(error?.code).toBe("DATA_CORRUPT");
      expect(error?.message).toContain(name);
    }
  });

  it("with another seal key than its own is refused", () => {
    const dataDir = join(temporaryFolder(), "data");
    const first = open(dataDir);
    first.keepRegistry();
    first.close(false);
    writeRegistry(dataDir);
    writeFileSync(`${dataDir}.key`, Buffer.alloc(32, 7).toString("base64"));
    expect(codeOf(() => open(dataDir))?.code).toBe("DATA_CORRUPT");
    rmSync(`${dataDir}.key`);
    expect(codeOf(() => open(dataDir))?.message).toContain("data.key");
  });

  it("whose registry is cut short, empty or gone is refused, by name", () => {
    const damages: readonly ((file: string) => void)[] = [
      (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
      (file) => truncateSync(file, 100),
      (file) => truncateSync(file, 0),
      (file) => rmSync(file),
    ];
    for (const damage of damages) {
      const dataDir = join(temporaryFolder(), "data");
      const first = open(dataDir);
      first.keepRegistry();
      first.close(false);
      const file = writeRegistry(dataDir);
      open(dataDir).close(false);
      damage(file);
      const error = codeOf(() => open(dataDir));
      expect(error?.code).toBe("DATA_CORRUPT");
      expect(error?.message).toContain("isola-registry-v1");
    }
  });

  it("with a long path gets sockets by a short link, never by somebody else's", () => {
    const folder = temporaryFolder();
    const deep = join(folder, ...Array.from({ length: 10 }, () => "a-rather-long-name"), "run");
    mkdirSync(deep, { recursive: true });
    const link = shortSocketRoot(deep, folder);
    expect(link.length).toBeLessThan(60);
    expect(shortSocketRoot(deep, folder)).toBe(link);
    rmSync(link);
    writeFileSync(link, "squatter");
    expect(codeOf(() => shortSocketRoot(deep, folder))?.code).toBe("START_FAILED");
  });
});

/** A registry as workerd would have left it, of several pages. */
function writeRegistry(dataDir: string): string {
  const directory = join(dataDir, "workerd", "gateway", "state", "isola-registry-v1");
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "abc.sqlite");
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("CREATE TABLE t (a TEXT)");
  const insert = database.prepare("INSERT INTO t VALUES (?)");
  for (let row = 0; row < 200; row += 1) insert.run("x".repeat(200));
  database.close();
  return file;
}
