import { Readable, Writable } from "node:stream";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  COMMANDS,
  type Io,
  bytes,
  exitStatusOf,
  logText,
  renderError,
  runProgram,
  showProgress,
  span,
  table,
} from "../../runtime/cli/internal.ts";
import { ERRORS, type ErrorCode, IsolaError } from "../../runtime/contract/index.ts";
import { ISOLA_COMMANDS } from "../tidy/commands.ts";

/** Nobody listens on port 1. */
const NOWHERE = { ISOLA_URL: "http://127.0.0.1:1", ISOLA_DATA: "/nonexistent" };

async function run(argv: readonly string[], environment: Io["environment"] = NOWHERE) {
  const output = { stdout: "", stderr: "" };
  const capture = (name: "stdout" | "stderr"): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        output[name] += chunk.toString();
        done();
      },
    });
  const io: Io = {
    stdin: Readable.from([]),
    stdout: capture("stdout"),
    stderr: capture("stderr"),
    environment,
    onInterrupt: () => undefined,
  };
  const status = await runProgram(argv, COMMANDS, io, "1.2.3");
  return { status, ...output };
}

/** What a stream shows of work that takes so long. */
async function watched(isTTY: boolean, tookMs: number): Promise<string> {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let text = "";
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const work = new Promise<string>((resume) => setTimeout(() => resume("done"), tookMs));
  const shown = showProgress(Object.assign(stream, { isTTY }), "deploying", work);
  await vi.advanceTimersByTimeAsync(tookMs);
  expect(await shown).toBe("done");
  return text;
}

describe("the command line", () => {
  it.each([
    [["--help"], "deploy|publish"],
    [["deploy", "--help"], "--dry-run"],
    [["help", "start"], "env ISOLA_PORT"],
    [["secret", "put", "--help"], "standard input"],
    [["--version"], "1.2.3"],
  ])("%j prints to stdout and ends with 0", async (argv, text) => {
    const { status, stdout, stderr } = await run(argv);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain(text);
  });

  it.each([
    [[], "no command"],
    [["lst"], "unknown command 'lst'"],
    [["list", "--bogus"], "unknown option '--bogus'"],
    [["list", "extra"], "too many arguments"],
    [["describe"], "missing required argument"],
    [["start", "--port"], "argument missing"],
    [["start", "--port", "http"], '"http" (--port)'],
    [["secret"], "no command"],
    [["secret", "print"], "unknown command 'print'"],
    [["promote", "f", "latest"], '"latest"'],
    [["cells", "kill", "1"], '"kill"'],
    [["logs", "--since", "yesterday"], '"yesterday"'],
    [["invoke", "f", "-", "--data", "1"], "more than one input"],
    [["invoke", "f", "--method", "GET", "--data", "1"], "method GET"],
    [["invoke", "f", "--data-file", "absent"], "no file absent"],
    [["deploy", "absent"], "no such file"],
    [["init", "nonsense"], "no such template"],
    [["secret", "put", "NAME"], "0 bytes"],
    [["namespace", "update", "team"], "nothing to change"],
  ])("%j is wrong usage: 2", async (argv, found) => {
    const { status, stdout, stderr } = await run(argv);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("(USAGE)");
    expect(stderr).toContain(found);
    expect(stderr).toMatch(/^ {2}do: {7}\S/m);
  });

  it.each([
    ["list"],
    ["describe", "f"],
    ["remove", "f"],
    ["versions", "f"],
    ["rollback", "f"],
    ["promote", "f", "1"],
    ["release", "f"],
    ["invoke", "f", "--public-url", "http://127.0.0.1:1"],
    ["logs"],
    ["usage"],
    ["cells"],
    ["status"],
    ["secret", "list"],
    ["namespace", "create", "a"],
    ["token", "create"],
    ["stop"],
  ])("%s … cannot reach a platform: 3", async (...argv) => {
    const { status, stdout, stderr } = await run(argv);
    expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
    expect(stderr).toContain("(UNREACHABLE)");
  });

  it("takes options of the connection before the verb, too", async () => {
    const { stderr } = await run(["--url", "http://127.0.0.1:2", "list"]);
    expect(stderr).toContain("http://127.0.0.1:2");
    const late = await run(["--url", "http://127.0.0.1:2", "list", "--url", "http://127.0.0.1:3"]);
    expect(late.stderr).toContain("http://127.0.0.1:3");
  });

  it("names the command that was wrongly used, wherever its options stand", async () => {
    const { status, stderr } = await run(["--data", "x", "secret", "put", "A", "not here"]);
    expect(status).toBe(2);
    expect(stderr).toContain("cannot run isola secret put (USAGE)");
    expect(stderr).toContain("isola secret put --help");
  });

  it("prints errors as JSON where that is asked for", async () => {
    const { stderr } = await run(["list", "--json"]);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: "UNREACHABLE", retryable: true, parts: { attempted: "list functions" } },
    });
  });

  it("has the verbs that documents may show, or they come later", () => {
    const verbs = new Set(
      COMMANDS.flatMap(({ name, aliases = [] }) => {
        const isGroup = name.includes(" ");
        return isGroup ? [name.split(" ")[0]] : [name, ...aliases];
      }),
    );
    const later = ISOLA_COMMANDS.filter((verb) => !verbs.has(verb));
    expect(later).toEqual(["load"]);
  });
});

describe("an error on the terminal", () => {
  it("has four parts", () => {
    const error = new IsolaError("PORT_IN_USE", {
      attempted: "listen on 127.0.0.1:8080",
      found: "process 4711 (nginx)",
      required: "a free port",
    });
    expect(`\n${renderError(error)}\n`).toMatchInlineSnapshot(`
      "
      isola: cannot listen on 127.0.0.1:8080 (PORT_IN_USE)
        found:    process 4711 (nginx)
        required: a free port
        do:       Pass another --port or --admin-port, or stop what holds it.
      "
    `);
  });

  it("sets further lines in", () => {
    const error = new IsolaError("BUILD_FAILED", {
      attempted: "build function f",
      found: 'f.ts:1:2: Unexpected ";"\n> 1 | a;\n    |  ^',
      fix: "correct it",
    });
    expect(`\n${renderError(error)}\n`).toMatchInlineSnapshot(`
      "
      isola: cannot build function f (BUILD_FAILED)
        found:    f.ts:1:2: Unexpected ";"
                  > 1 | a;
                      |  ^
        do:       correct it
      "
    `);
  });

  it("ends with 1, with 2 for wrong usage, with 3 for an unreachable platform", () => {
    const others = (Object.keys(ERRORS) as ErrorCode[]).filter(
      (code) => code !== "USAGE" && code !== "UNREACHABLE",
    );
    expect(new Set(others.map(exitStatusOf))).toEqual(new Set([1]));
    expect(exitStatusOf("USAGE")).toBe(2);
    expect(exitStatusOf("UNREACHABLE")).toBe(3);
  });
});

describe("progress", () => {
  it("is shown on a terminal after a second, and gone in the end", async () => {
    expect(await watched(true, 900)).toBe("");
    const text = await watched(true, 1_500);
    expect(text).toContain("deploying … 1.0 s");
    expect(text.endsWith("\r\u001B[2K")).toBe(true);
  });

  it("is never shown where output is piped", async () => {
    expect(await watched(false, 60_000)).toBe("");
  });
});

describe("what is printed", () => {
  it("stands in columns, numbers to the right", () => {
    const rows = [
      { name: "a", count: 5 },
      { name: "longer", count: 1_000 },
    ];
    const text = table(
      rows,
      [
        { title: "name", value: ({ name }) => name },
        { title: "n", value: ({ count }) => count, isNumber: true },
      ],
      "none",
    );
    expect(text).toBe("NAME       N\na          5\nlonger  1000");
    expect(table([], [], "none")).toBe("none");
  });

  it.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.0 KiB"],
    [1_572_864, "1.5 MiB"],
    [1_073_741_824, "1.0 GiB"],
  ])("is a size: %d", (count, text) => {
    expect(bytes(count)).toBe(text);
  });

  it.each([
    [0, "0s"],
    [59_999, "59s"],
    [61_000, "1m 1s"],
    [3_600_000, "1h"],
    [266_400_000, "3d 2h"],
  ])("is a length of time: %d", (ms, text) => {
    expect(span(ms)).toBe(text);
  });

  it("is a log line whose further lines are set in", () => {
    const text = logText({
      callId: "c",
      namespace: "default",
      function: "hello",
      version: 3,
      atMs: new Date(2026, 0, 1, 1, 2, 3, 4).getTime(),
      level: "warn",
      text: "Error: x\n  at y\n",
    });
    expect(text).toBe("01:02:03.004 hello v3 warn  Error: x\n      at y");
  });
});
