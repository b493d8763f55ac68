import { describe, expect, it } from "vitest";
import {
  ERRORS,
  IsolaError,
  OPTIONS,
  type OptionName,
  type OptionSpec,
  findOption,
  flagOf,
  optionsOf,
  parseDurationMs,
} from "../../runtime/contract/index.ts";
import { COMMANDS, optionsList, parseConfigFile } from "../../runtime/cli/internal.ts";

const NAMES = Object.keys(OPTIONS) as OptionName[];
const specOf = (name: OptionName): OptionSpec => OPTIONS[name];
const NONE = { flags: {}, environment: {} };

function refusalOf(action: () => unknown): IsolaError {
  try {
    action();
  } catch (error) {
    if (error instanceof IsolaError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("the table of options", () => {
  it("gives a verb no flag twice", () => {
    for (const { name } of COMMANDS) {
      const flags = optionsOf(name).flatMap((option) => {
        const { short } = specOf(option);
        return short === undefined ? [flagOf(option)] : [flagOf(option), short];
      });
      expect(new Set(flags).size, `${name}: ${flags.join(" ")}`).toBe(flags.length);
    }
  });

  it("names only verbs that exist", () => {
    const verbs = new Set(COMMANDS.map(({ name }) => name));
    const unknown = NAMES.flatMap((name) => specOf(name).commands).filter((v) => !verbs.has(v));
    expect(unknown).toEqual([]);
  });

  it("has one owner for each variable and each key of isola.toml", () => {
    for (const field of ["environment", "file"] as const) {
      const given = NAMES.map((name) => specOf(name)[field]).filter((key) => key !== undefined);
      expect(new Set(given).size).toBe(given.length);
    }
  });

  it("has defaults that it would accept", () => {
    for (const name of NAMES) {
      const { value } = findOption(name, NONE);
      if (value === undefined || value === "") continue;
      expect(findOption(name, { ...NONE, flags: { [name]: value } }).value).toEqual(value);
    }
  });

  it("is what OPTIONS.md shows", async () => {
    const text = [
      "# Options of `isola`",
      "",
      "Flag, variable, key of `isola.toml` in the working directory: the first given counts.",
      "Written by `vitest --project unit -u` from `runtime/contract/options.ts`.",
      "",
      optionsList(),
      "",
    ].join("\n");
    await expect(text).toMatchFileSnapshot("../../runtime/cli/OPTIONS.md");
  });
});

describe("an option's value", () => {
  const file = parseConfigFile("[platform]\nport = 3\n", "isola.toml");

  it("comes from the flag, then the environment, then isola.toml, then the default", () => {
    const flags = { port: "1" };
    const environment = { ISOLA_PORT: "2" };
    const sources = [
      findOption("port", { flags, environment, file }),
      findOption("port", { flags: {}, environment, file }),
      findOption("port", { ...NONE, file }),
      findOption("port", NONE),
    ];
    expect(sources).toEqual([
      { value: 1, origin: "flag", source: "--port" },
      { value: 2, origin: "environment", source: "ISOLA_PORT" },
      { value: 3, origin: "file", source: "isola.toml line 2" },
      { value: 8080, origin: "default", source: "default" },
    ]);
  });

  it("is absent where the variable is empty", () => {
    expect(findOption("port", { flags: {}, environment: { ISOLA_PORT: "" } }).value).toBe(8080);
  });

  it.each([
    ["port", "65536"],
    ["port", "-1"],
    ["port", "1.5"],
    ["port", "http"],
    ["cells", "0"],
    ["cells", "17"],
    ["host", "a b"],
    ["allowPrivate", ["10.0.0.0"]],
    ["backend", "vm"],
    ["url", "127.0.0.1:8081"],
    ["url", "http://host/path"],
    ["since", "soon"],
    ["env", ["1=2"]],
    ["header", ["novalue"]],
    ["token", ""],
  ] as const)("is refused: %s = %j", (name, value) => {
    const error = refusalOf(() => findOption(name, { ...NONE, flags: { [name]: value } }));
    expect(error.code).toBe("USAGE");
    expect(error.parts.attempted).toContain(`--${flagOf(name)}`);
    const shown = JSON.stringify(value);
    const plain = /^"-?\d+"$/.test(shown) ? JSON.parse(shown) : shown;
    expect(error.parts.found).toContain(plain);
    expect(error.parts.required).not.toBe("");
  });

  it("is refused with the name of the variable it came from", () => {
    const environment = { ISOLA_CELLS: "many" };
    const error = refusalOf(() => findOption("cells", { flags: {}, environment }));
    expect(error.parts.found).toBe('"many" (ISOLA_CELLS)');
    expect(ERRORS[error.code].fault).toBe("caller");
  });

  it("is a list where the variable holds commas", () => {
    const environment = { ISOLA_ALLOW_PRIVATE: "10.0.0.0/8, fd00::/8" };
    const { value } = findOption("allowPrivate", { flags: {}, environment });
    expect(value).toEqual(["10.0.0.0/8", "fd00::/8"]);
  });

  it.each([
    ["1", true],
    ["true", true],
    ["off", false],
    ["0", false],
  ])("is a switch where the variable says %s", (text, value) => {
    const environment = { ISOLA_DEV: text };
    expect(findOption("dev", { flags: {}, environment }).value).toBe(value);
  });
});

describe("isola.toml", () => {
  it("holds functions' configurations", () => {
    const text = '[functions.hello]\ntimeoutMs = 5_000\negress = ["api.example.com"]\n';
    const { functions } = parseConfigFile(text, "isola.toml");
    expect(functions.get("hello")).toEqual({ timeoutMs: 5000, egress: ["api.example.com"] });
  });

  it.each([
    ["[platform]\nport = 1\nprot = 2\n", 3, '"prot"'],
    ["[plattform]\nport = 1\n", 1, '"plattform"'],
    ["port = 1\n", 1, '"port"'],
    ['[platform]\n\nport = "x"\n', 3, '"x"'],
    ["[functions.a]\ntimeoutMs = 1\n\n[functions.b]\ntimeout = 1\n", 5, '"timeout"'],
    ["[functions.a]\ntimeoutMs = -1\n", 2, "-1"],
    ["[functions.Hello]\ntimeoutMs = 1\n", 1, '"Hello"'],
    ["[platform]\nport = \n", 2, "line 2"],
    ["functions.a.memory = 1\n", 1, '"memory"'],
  ])("is refused with line and name: %j", (text, line, found) => {
    const error = refusalOf(() => parseConfigFile(text, "isola.toml"));
    expect(error.code).toBe("USAGE");
    expect(error.parts.location).toMatchObject({ file: "isola.toml", line });
    expect(error.parts.found).toContain(found);
  });
});

describe("a length of time", () => {
  it.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["10m", 600_000],
    ["24h", 86_400_000],
    ["7d", 604_800_000],
    ["1h30m", 5_400_000],
    ["1.5h", 5_400_000],
    ["15", 15_000],
    [" 2M ", 120_000],
  ])("%s is %d ms", (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms);
  });

  it.each(["", "m", "10", "-5m", "5 minutes", "1y", "10m!"])("%j is one only if it is", (text) => {
    expect(parseDurationMs(text)).toBe(text === "10" ? 10_000 : undefined);
  });
});
