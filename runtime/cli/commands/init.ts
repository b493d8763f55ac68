/** Makes a project; never overwrites a file. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { IsolaError } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { shownPath } from "../shown-path.ts";
import { TEMPLATES, type Template, projectFiles } from "../templates.ts";
import { VERSION } from "../version.ts";

/** Files that an installation has made before: kept as they are. */
const KEPT = new Set(["package.json", ".gitignore"]);

export const initCommand: Command = {
  name: "init",
  summary: `make a project; templates: ${Object.keys(TEMPLATES).join(", ")}`,
  arguments: "[template] [dir]",
  async run(context, name = "function", dir = ".") {
    const template = findTemplate(name);
    const root = resolve(dir);
    const files = projectFiles(template, packageName(root), dependencySpec());
    const taken = [...files.keys()].filter((path) => existsSync(join(root, path)));
    const inTheWay = taken.filter((path) => !KEPT.has(path));
    if (inTheWay.length > 0) {
      throw new IsolaError("ALREADY_EXISTS", {
        attempted: `make a project in ${shownPath(root)}`,
        found: inTheWay.join(", "),
        required: "none of these files",
        fix: `move them away, or name another folder: isola init ${name} FOLDER`,
      });
    }
    const written = [...files].filter(([path]) => !taken.includes(path));
    for (const [path, content] of written) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content, { flag: "wx" });
    }
    const paths = written.map(([path]) => path);
    context.show({ template: name, dir: root, written: paths, kept: taken }, () => {
      const enter = dir === "." ? "" : `cd ${dir} && `;
      const install = isInstalled(root) ? "" : "npm install && ";
      return [
        ...paths.map((path) => `  ${path}`),
        "",
        `next: ${enter}${install}npx isola dev`,
      ].join("\n");
    });
  },
};

function findTemplate(name: string): Template {
  const template = TEMPLATES[name];
  if (template !== undefined) return template;
  const known = Object.entries(TEMPLATES).map(([key, { summary }]) => `${key} (${summary})`);
  throw new IsolaError("USAGE", {
    attempted: `use template ${JSON.stringify(name)}`,
    found: "no such template",
    required: `one of: ${known.join("; ")}`,
    fix: "isola init function, or isola init function FOLDER",
  });
}

function packageName(root: string): string {
  const name = basename(root)
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  return name === "" ? "functions" : name;
}

function isInstalled(root: string): boolean {
  return existsSync(join(root, "node_modules/isola/package.json"));
}

/** How a new project finds this very release: a folder, the tarball it came from, or by number. */
function dependencySpec(): string {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const ours = import.meta.url.endsWith(".ts") ? resolve(root, "..") : resolve(root);
  if (import.meta.url.endsWith(".ts")) return `file:${ours}`;
  const modules = dirname(ours);
  try {
    const lock = JSON.parse(readFileSync(join(modules, ".package-lock.json"), "utf8")) as {
      readonly packages?: Readonly<Record<string, { readonly resolved?: string }>>;
    };
    const from = lock.packages?.["node_modules/isola"]?.resolved ?? "";
    if (from.startsWith("file:")) return `file:${resolve(modules, "..", from.slice(5))}`;
  } catch {
    // No lock of an installation beside it: the number does.
  }
  return `^${VERSION}`;
}
