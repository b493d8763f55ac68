/**
 * README, and the guide behind it, are run as they stand: their files are written, their `bash`
 * blocks executed in order, in an empty folder, against a platform started as README says. Only
 * ports are replaced by free ones.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

interface Block {
  readonly language: string;
  readonly text: string;
}

const ROOT = resolve(import.meta.dirname, "../..");
const DOCUMENTS = ["README.md", "workflow/GUIDE.md"];
const START_MAX_MS = 30_000;
/** What `npx` does with an installed command, without npm's half a second before each. */
const NPX = 'npx() { "./node_modules/.bin/$1" "${@:2}"; }';

const blocks: readonly Block[] = DOCUMENTS.flatMap((path) => {
  const text = readFileSync(join(ROOT, path), "utf8");
  return [...text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? "",
    text: match[2] ?? "",
  }));
});

interface Step {
  readonly title: string;
  /** Files that are shown before the block. */
  readonly files: ReadonlyMap<string, string>;
  readonly script: string;
  readonly expected: readonly RegExp[];
}

/** What the output of a block has to hold, by a line of the block. */
const EXPECTED: readonly (readonly [line: string, output: RegExp])[] = [
  ["function/greet?name=Ada", /\{"greeting":"Hello, Ada!"\}/],
  ["isola logs greet", /greeting Ada[^]*greet +\d/],
  ["greet.default.localhost", /Hello, Alan![^]*Hello, Barbara![^]*Hello, Grace!/],
  ["isola invoke crowd", /HELLO[^]*\["Hello, Ada!","Hello, Alan!"\]/],
  ["store create parts", /raw\/greet[^]*"pages": ?3[^]*"stored":true[^]*\{[^]*"value":2/],
  ["isola invoke welcome", /Hello, Ada![^]*Hello, Alan!/],
  [
    "invoke greet --async",
    /run +completed[^]*greet v1[^]*apply greet +completed[^]*digraph[^]*Hello, Grace!/,
  ],
  ["invoke offer --data", /\{"total":85\}[^]*offer/],
  ["runs send-event", /waiting[^]*\{"who":"Ada","days":3,"granted":true\}/],
  ["runs list --status failed\n", /nobody knows the price of piano/],
  ["runs restart", /completed[^]*flowchart/],
  ["--traffic 10", /10 ?%[^]*greet/],
  ["secret put API_KEY", /"keyLength":21[^]*"keyLength":27/],
  ["--namespace shop", /OPEN[^]*shop/],
  ["isola status", /gateway_function_invocation_total/],
];

const steps: readonly Step[] = stepsOf(blocks);

function stepsOf(all: readonly Block[]): Step[] {
  const found: Step[] = [];
  let files = new Map<string, string>();
  for (const { language, text } of all) {
    const path = /^\/\/ (\S+)\n/.exec(text)?.[1];
    if (language === "ts" && path !== undefined) files.set(path, text);
    if (language !== "bash") continue;
    const title = text.trim().replaceAll("\n", "; ");
    const expected = EXPECTED.filter(([line]) => text.includes(line)).map(([, output]) => output);
    found.push({ title, files, script: text, expected });
    files = new Map();
  }
  return found;
}

const folder = mkdtempSync(join(tmpdir(), "isola-readme-"));
let platform: ChildProcess | undefined;
let ports: readonly [string, string] = ["8080", "8081"];

/** An installed package's command, made of the checkout's sources. */
function installIsola(): void {
  const bin = join(folder, "node_modules/.bin/isola");
  mkdirSync(dirname(bin), { recursive: true });
  const program = join(ROOT, "runtime/cli/main.ts");
  writeFileSync(bin, `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  chmodSync(bin, 0o755);
}

async function startPlatform(): Promise<void> {
  const env = { ...process.env, ISOLA_PORT: "0", ISOLA_ADMIN_PORT: "0" };
  const program = join(ROOT, "runtime/cli/main.ts");
  const child = spawn(process.execPath, [program, "start"], { cwd: folder, env });
  platform = child;
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
  }
  const deadlineMs = performance.now() + START_MAX_MS;
  while (child.exitCode === null && performance.now() < deadlineMs) {
    const found = /^public\s+\S+:(\d+)\s+admin\s+\S+:(\d+)$/m.exec(said);
    if (found) {
      ports = [found[1] ?? "", found[2] ?? ""];
      return;
    }
    await sleep(20);
  }
  throw new Error(`isola start: ${said}`);
}

async function run(text: string): Promise<{ readonly status: number; readonly output: string }> {
  const [port, adminPort] = ports;
  const script = text
    .replaceAll(/(127\.0\.0\.1|localhost):8080/g, `$1:${port}`)
    .replaceAll(/(127\.0\.0\.1|localhost):8081/g, `$1:${adminPort}`);
  const child = spawn("bash", ["-euo", "pipefail", "-c", `${NPX}\n${script}`], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  }
  const [status] = (await once(child, "close")) as [number | null];
  return { status: status ?? -1, output };
}

beforeAll(async () => {
  installIsola();
  await startPlatform();
});

afterAll(async () => {
  if (platform?.exitCode === null) {
    const exited = once(platform, "exit");
    platform.kill("SIGTERM");
    await exited;
  }
  rmSync(folder, { recursive: true, force: true });
});

describe("README and the guide of workflows", () => {
  it("start the platform as this test does", () => {
    const starts = blocks.filter(({ text }) => text.trim() === "npx isola start");
    expect(starts.map(({ language }) => language)).toEqual(["sh"]);
  });

  it.each(steps)("run $title", async ({ files, script, expected }) => {
    for (const [path, text] of files) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    const { status, output } = await run(script);
    expect(status, output).toBe(0);
    for (const pattern of expected) expect(output).toMatch(pattern);
  });

  it("have a block for everything that is expected", () => {
    const missing = EXPECTED.filter(([line]) => !steps.some(({ script }) => script.includes(line)));
    expect(missing).toEqual([]);
  });
});
