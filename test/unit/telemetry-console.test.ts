import { build } from "esbuild";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createConsole, formatConsole } from "../../runtime/telemetry/index.ts";

/** Fails the test when tenant code is run that must not be. */
function trap(): never {
  throw new TypeError("ran the tenant's code");
}

/** A list of which only the second place was ever filled. */
const holes: unknown[] = [];
holes[1] = 1;

class Point {
  x = 1;
  get secret(): number {
    return trap();
  }
}

function newConsole() {
  const lines: string[] = [];
  let nowMs = 0;
  const shown = createConsole(
    (level, text) => lines.push(`${level}: ${text}`),
    () => (nowMs += 5),
  );
  const call = (method: string, ...args: unknown[]): void => shown[method]?.(...args);
  return { lines, call };
}

describe("console arguments", () => {
  it.each<[string, readonly unknown[], string]>([
    ["nothing", [], ""],
    ["text as it is", ["a 'b'", "c"], "a 'b' c"],
    [
      "primitives",
      [1, -0, 10n, true, null, undefined, Symbol("s")],
      "1 -0 10n true null undefined Symbol(s)",
    ],
    ["objects", [{ a: 1, "b-c": "it's" }], "{ a: 1, 'b-c': 'it\\'s' }"],
    ["symbols as keys", [{ [Symbol("k")]: 1 }], "{ Symbol(k): 1 }"],
    ["lists with holes", [holes], "[ <empty>, 1 ]"],
    [
      "classes and functions",
      [Point, trap, () => 1],
      "[class Point] [Function: trap] [Function: (anonymous)]",
    ],
    ["instances", [new Point()], "Point { x: 1 }"],
    ["no prototype", [Object.create(null)], "[no prototype] {}"],
    [
      "maps and sets",
      [new Map([["k", { v: 1 }]]), new Set([1])],
      "Map { 'k' => { v: 1 } } Set { 1 }",
    ],
    ["bytes", [new Uint8Array([1, 2])], "Uint8Array(2) [ 1, 2 ]"],
    ["dates", [new Date(0), new Date(Number.NaN)], "1970-01-01T00:00:00.000Z Invalid Date"],
    ["patterns", [/a\/b/gi], "/a\\/b/gi"],
    [
      "what functions get and give",
      [new URL("http://a.test/b"), new Headers({ a: "1" }), new URLSearchParams("b=2")],
      "URL { href: 'http://a.test/b' } Headers { 'a' => '1' } URLSearchParams { 'b' => '2' }",
    ],
    ["depth", [{ a: { b: { c: { d: {} } } } }], "{ a: { b: { c: { d: [Object] } } } }"],
    [
      "formats",
      ["%s is %d%% %i %f %j %o %cred", "x", 5, 1.9, 0.5, { a: 1 }, [1], "color", "rest"],
      "x is 5% 1 0.5 { a: 1 } [ 1 ] red rest",
    ],
    ["formats without arguments", ["100%s"], "100%s"],
  ])("shows %s", (_what, args, text) => {
    expect(formatConsole(args)).toBe(text);
  });

  it("shows an error by its stack, with its cause and its own fields", () => {
    const error = Object.assign(new TypeError("bad", { cause: new RangeError("why") }), {
      code: 7,
    });
    const text = formatConsole(["failed:", error]);
    expect(text).toMatch(/^failed: TypeError: bad\n {4}at /);
    expect(text).toContain("{ code: 7 }");
    expect(text).toMatch(/\[cause\]: RangeError: why\n {4}at /);
  });

  it("shows a cycle as such", () => {
    const loop: Record<string, unknown> = { name: "loop" };
    loop["self"] = loop;
    expect(formatConsole([loop])).toBe("{ name: 'loop', self: [Circular] }");
  });

  it("puts what does not fit a line into several", () => {
    expect(formatConsole([{ a: "x".repeat(40), b: ["y".repeat(40)] }])).toBe(
      `{\n  a: '${"x".repeat(40)}',\n  b: [ '${"y".repeat(40)}' ]\n}`,
    );
  });
});

describe("hostile arguments", () => {
  const hostile: readonly [string, () => unknown][] = [
    ["a getter", () => ({ get a() { return trap(); } })], // prettier-ignore
    ["toString and valueOf", () => ({ toString: trap, valueOf: trap, [Symbol.toPrimitive]: trap })],
    [
      "toJSON and inspect",
      () => ({ toJSON: trap, inspect: trap, [Symbol.for("nodejs.util.inspect.custom")]: trap }),
    ],
    ["a tag", () => Object.defineProperty({}, Symbol.toStringTag, { get: trap })],
    ["a pattern", () => Object.defineProperty(/a/, "flags", { get: trap })],
    ["an iterator", () => Object.assign([1], { [Symbol.iterator]: trap })],
    [
      "a constructor that is a getter",
      () => Object.defineProperty({}, "constructor", { get: trap }),
    ],
    ["a name that is a getter", () => Object.defineProperty(() => {}, "name", { get: trap })],
    [
      "a message that is a getter",
      () => Object.defineProperty(new Error("m"), "message", { get: trap }),
    ],
    [
      "a stack that is a getter",
      () => Object.defineProperty(new Error("m"), "stack", { get: trap }),
    ],
    [
      "a date with its own methods",
      () => Object.assign(new Date(0), { toISOString: trap, getTime: trap }),
    ],
    [
      "a map with its own methods",
      () => Object.assign(new Map(), { forEach: trap, entries: trap }),
    ],
    ["an object that claims to be a map", () => Object.create(Map.prototype)],
    ["an object that claims to be an error", () => Object.create(Error.prototype)],
    ["an object that claims to be bytes", () => Object.create(Uint8Array.prototype)],
  ];

  it.each(hostile)("run no code of theirs: %s", (_what, make) => {
    for (const args of [
      [make()],
      ["%s %d %i %f %o %j", make(), make(), make(), make(), make(), make()],
    ]) {
      const text = formatConsole(args);
      expect(text).not.toContain("tenant's code");
      expect(text).not.toBe("[not printable]");
    }
  });

  it.each<[string, ProxyHandler<object>]>([
    ["throw", { ownKeys: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap }],
    ["go on for ever", { getPrototypeOf: () => new Proxy({}, { getPrototypeOf: () => ({}) }) }],
    ["lie", { ownKeys: () => Array.from({ length: 5_000 }, (_, index) => `${index}`) }],
  ])("survive proxies whose traps %s", (_what, handler) => {
    const text = formatConsole([new Proxy({}, handler), "and on"]);
    expect(text.endsWith("and on")).toBe(true);
    expect(text.length).toBeLessThan(17_000);
  });

  it("survive a revoked proxy and a stack that is prepared by theirs", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(formatConsole([proxy])).toBe("[not printable]");
    const original = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace") ?? {};
    Error.prepareStackTrace = trap;
    try {
      expect(() => formatConsole([new Error("x")])).not.toThrow();
      expect(() => newConsole().call("trace", "x")).not.toThrow();
    } finally {
      Object.defineProperty(Error, "prepareStackTrace", original);
    }
  });

  it("do not multiply work by logging from a trap", () => {
    let nested = 0;
    const inner: string[] = [];
    const handler = {
      ownKeys: () => {
        nested += 1;
        inner.push(formatConsole([new Proxy({}, handler)]));
        return [];
      },
    };
    formatConsole([new Proxy({}, handler)]);
    expect(nested).toBe(1);
    expect(inner).toEqual(["[logged while being logged]"]);
  });

  it("cost bounded text and time however large they are", () => {
    let deep: unknown = 1;
    for (let level = 0; level < 50_000; level += 1) deep = { deep };
    const wide = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, index) => [`k${index}`, index]),
    );
    const shared: unknown[] = [];
    let node: unknown = "leaf";
    for (let level = 0; level < 40; level += 1) node = [node, node, node];
    shared.push(node);
    const sparse: unknown[] = [];
    sparse.length = 4_000_000_000;
    const startedAtMs = performance.now();
    for (const value of [
      deep,
      wide,
      shared,
      sparse,
      "x".repeat(5_000_000),
      ["y".repeat(5_000_000)],
      new Uint8Array(5_000_000),
    ]) {
      const text = formatConsole([value, value]);
      expect(text.length).toBeLessThan(17_000);
    }
    expect(performance.now() - startedAtMs).toBeLessThan(2_000);
  });

  it("never throw and always end as text, whatever the value", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.anything({
            withBigInt: true,
            withDate: true,
            withMap: true,
            withNullPrototype: true,
            withSet: true,
            withSparseArray: true,
            withTypedArray: true,
          }),
        ),
        (args) => {
          expect(typeof formatConsole(args)).toBe("string");
        },
      ),
    );
  });
});

describe("console", () => {
  it("has a level for every method that writes", () => {
    const { lines, call } = newConsole();
    for (const method of ["log", "info", "debug", "warn", "error", "dir", "table"])
      call(method, "x");
    expect(lines).toEqual([
      "info: x",
      "info: x",
      "debug: x",
      "warn: x",
      "error: x",
      "info: x",
      "info: x",
    ]);
  });

  it("asserts, counts, times and groups", () => {
    const { lines, call } = newConsole();
    call("assert", true, "silent");
    call("assert", false, "no %s", "way");
    call("assert", false);
    call("count");
    call("count", "a");
    call("count");
    call("countReset");
    call("count");
    call("time", "t");
    call("timeLog", "t", { at: 1 });
    call("timeEnd", "t");
    call("timeEnd", "t");
    call("group", "outer");
    call("log", "in\nside");
    call("groupEnd");
    call("groupEnd");
    call("log", "outside");
    expect(lines).toEqual([
      "error: Assertion failed: no way",
      "error: Assertion failed",
      "info: default: 1",
      "info: a: 1",
      "info: default: 2",
      "info: default: 1",
      "info: t: 5ms { at: 1 }",
      "info: t: 10ms",
      "warn: Timer 't' does not exist",
      "info: outer",
      "info:   in\n  side",
      "info: outside",
    ]);
  });

  it("shows where a trace came from", () => {
    const { lines, call } = newConsole();
    call("trace", "here");
    expect(lines[0]).toMatch(/^debug: Trace: here\n {4}at .*telemetry-console/);
  });

  it("stays small: it goes into every isolate", async () => {
    const { outputFiles } = await build({
      entryPoints: ["runtime/telemetry/console-format.ts"],
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      target: "es2024",
      charset: "utf8",
    });
    expect(outputFiles[0]?.contents.length).toBeLessThan(5_000);
  });
});
