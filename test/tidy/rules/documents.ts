import { posix } from "node:path";
import { LONG_READMES, isAllowed } from "../allow.ts";
import { ISOLA_COMMANDS } from "../commands.ts";
import type { Finding, Repository } from "../repository.ts";
import { lineOf } from "../repository.ts";
import type { Rule } from "../rule.ts";

const README_MAX_LINES = 20;
const SOURCES_WITHOUT_README = 3;
const ROOT_FILE = /^[^/]*$/;

const finding = (path: string, line: number, message: string): Finding => ({ path, line, message });

function readmeFindings({ sources, texts }: Repository): Finding[] {
  const counts = new Map<string, number>();
  for (const { path } of sources) {
    if (ROOT_FILE.test(path) || path.startsWith("test/fixtures/")) continue;
    const folder = posix.dirname(path);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count > SOURCES_WITHOUT_README)
    .flatMap(([folder]) => {
      const path = `${folder}/README.md`;
      const text = texts.get(path);
      if (text === undefined) return [finding(path, 1, "what lives here is written nowhere")];
      const count = text.trimEnd().split("\n").length;
      if (count <= README_MAX_LINES || isAllowed(LONG_READMES, path)) return [];
      return [finding(path, 1, `${String(count)} lines`)];
    });
}

/** The anchor of a heading, as forges write it. */
function anchorOf(heading: string): string {
  const bare = heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "");
  return bare.replaceAll(" ", "-");
}

function hasAnchor(text: string, anchor: string): boolean {
  return [...text.matchAll(/^#+\s+(.*)$/gm)].some((match) => anchorOf(match[1] ?? "") === anchor);
}

function linkFault(texts: Repository["texts"], from: string, link: string): string | undefined {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [file = "", anchor] = link.split("#");
  const path = file === "" ? from : posix.normalize(posix.join(posix.dirname(from), file));
  const folder = path.replace(/\/$/, "");
  const isFolder = [...texts.keys()].some((other) => other.startsWith(`${folder}/`));
  const text = texts.get(path);
  if (text === undefined)
    return isFolder || path === "LICENSE" ? undefined : `${link} leads nowhere`;
  if (anchor === undefined || anchor === "" || hasAnchor(text, anchor)) return undefined;
  return `${path} has no heading #${anchor}`;
}

function linkFindings({ texts }: Repository): Finding[] {
  return [...texts]
    .filter(([path]) => path.endsWith(".md"))
    .flatMap(([path, text]) =>
      [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap((match) => {
        const fault = linkFault(texts, path, match[1] ?? "");
        return fault === undefined ? [] : [finding(path, lineOf(text, match.index), fault)];
      }),
    );
}

const NPM_VERBS = new Set(["install", "ci", "pack", "start", "test"]);

function commandFault(line: string, scripts: ReadonlySet<string>): string | undefined {
  const words = line.trim().split(/\s+/);
  if (words[0] === "npx" && words[1] === "isola") {
    const verb = words[2] ?? "";
    return ISOLA_COMMANDS.includes(verb) || verb.startsWith("-") ? undefined : `isola ${verb}`;
  }
  if (words[0] !== "npm") return undefined;
  if (words[1] !== "run")
    return NPM_VERBS.has(words[1] ?? "") ? undefined : `npm ${words[1] ?? ""}`;
  return scripts.has(words[2] ?? "") ? undefined : `npm run ${words[2] ?? ""}`;
}

function commandFindings({ texts }: Repository): Finding[] {
  const text = texts.get("README.md") ?? "";
  const manifest = JSON.parse(texts.get("package.json") ?? "{}") as {
    readonly scripts?: Readonly<Record<string, string>>;
  };
  const scripts = new Set(Object.keys(manifest.scripts ?? {}));
  return [...text.matchAll(/^```(?:bash|sh)\n([^]*?)^```/gm)].flatMap((block) =>
    (block[1] ?? "")
      .split("\n")
      .flatMap((line) => line.replace(/(^|\s)#.*/, "").split(/&&|\|/))
      .flatMap((line) => {
        const fault = commandFault(line, scripts);
        if (fault === undefined) return [];
        return [finding("README.md", lineOf(text, block.index), `${fault} is no command`)];
      }),
  );
}

/** Rows of the first table under a heading: cells without their decoration. */
export function tableUnder(text: string, heading: string): string[][] {
  const start = text.search(new RegExp(`^#+ ${heading}$`, "m"));
  if (start === -1) return [];
  const section = text.slice(start).split(/\n(?=#+ )/)[0] ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("|") && !/^\|[\s|:-]+$/.test(line))
    .slice(1)
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll("`", "")),
    );
}

function dependencyFindings({ texts }: Repository): Finding[] {
  const manifest = JSON.parse(texts.get("package.json") ?? "{}") as {
    readonly dependencies?: Readonly<Record<string, string>>;
  };
  const needed = Object.keys(manifest.dependencies ?? {});
  const rows = tableUnder(texts.get("ARCHITECTURE.md") ?? "", "Dependencies");
  const named = new Set(rows.map(([name]) => name));
  const faults = [
    ...needed.filter((name) => !named.has(name)).map((name) => `${name} has no reason`),
    ...rows
      .filter(([name = "", reason = ""]) => !needed.includes(name) || reason.length < 20)
      .map(([name = ""]) => `${name} is no dependency, or its reason is none`),
  ];
  return faults.map((message) => finding("ARCHITECTURE.md", 1, message));
}

export const DOCUMENT_RULES: readonly Rule[] = [
  {
    name: "a folder of many sources says what lives in it",
    check: readmeFindings,
    breaks: [
      { "store/a.ts": "", "store/b.ts": "", "store/c.ts": "", "store/d.ts": "" },
      {
        "bench/a.ts": "",
        "bench/b.ts": "",
        "bench/c.ts": "",
        "bench/d.ts": "",
        "bench/README.md": "line\n".repeat(21),
      },
    ],
    keeps: [{ "store/a.ts": "", "store/b.ts": "", "store/c.ts": "" }],
  },
  {
    name: "links in documents lead somewhere",
    check: linkFindings,
    breaks: [
      { "README.md": "[a](store/README.md)" },
      { "README.md": "[a](#missing)" },
      { "store/README.md": "[a](../README.md#b)", "README.md": "# A" },
    ],
    keeps: [
      { "README.md": "[a](https://example.org) [b](store/) [c](#c-d)\n## C, d", "store/a.ts": "" },
    ],
  },
  {
    name: "commands in the README exist",
    check: commandFindings,
    breaks: [
      { "README.md": "```bash\nnpx isola fly\n```" },
      { "README.md": "```bash\nnpm install && npm run fly\n```", "package.json": "{}" },
    ],
    keeps: [
      {
        "README.md": "```bash\nnpm install && npm run demo # runs\nnpx isola deploy a.ts\n```",
        "package.json": '{"scripts":{"demo":""}}',
      },
    ],
  },
  {
    name: "each dependency has a written reason",
    check: dependencyFindings,
    breaks: [
      { "package.json": '{"dependencies":{"a":"1"}}', "ARCHITECTURE.md": "## Dependencies" },
      {
        "package.json": "{}",
        "ARCHITECTURE.md":
          "## Dependencies\n| p | r |\n|---|---|\n| `a` | it was there before us |",
      },
    ],
    keeps: [
      {
        "package.json": '{"dependencies":{"a":"1"}}',
        "ARCHITECTURE.md": "## Dependencies\n| p | r |\n|---|---|\n| `a` | it does what we need |",
      },
    ],
  },
];
