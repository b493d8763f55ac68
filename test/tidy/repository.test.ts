import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOMS } from "./matrix.ts";
import { type Finding, readRepository, repositoryOf } from "./repository.ts";
import type { Rule } from "./rule.ts";
import { COMMENT_RULES } from "./rules/comments.ts";
import { DOCUMENT_RULES, tableUnder } from "./rules/documents.ts";
import { IMPORT_RULES } from "./rules/imports.ts";
import { LANGUAGE_RULES } from "./rules/language.ts";
import { LENGTH_RULES, longFunctionsOf } from "./rules/lengths.ts";
import { NAMING_RULES } from "./rules/naming.ts";
import { WORD_RULES } from "./rules/words.ts";

const RULES: readonly Rule[] = [
  ...LENGTH_RULES,
  ...IMPORT_RULES,
  ...NAMING_RULES,
  ...LANGUAGE_RULES,
  ...COMMENT_RULES,
  ...DOCUMENT_RULES,
  ...WORD_RULES,
];

const repository = readRepository(join(import.meta.dirname, "../.."));
const written = ({ path, line, message }: Finding): string => `${path}:${String(line)}: ${message}`;

describe("the repository", () => {
  for (const rule of RULES) {
    it(rule.name, () => {
      expect(rule.check(repository).map(written)).toEqual([]);
    });
  }

  it("lists the functions that are long for a reason", () => {
    const waived = repository.sources
      .flatMap(longFunctionsOf)
      .filter(({ waiver }) => waiver !== undefined)
      .map(
        ({ source, lines, waiver }) => `${source.path} (${String(lines)} lines): ${waiver ?? ""}`,
      );
    if (waived.length > 0) console.info(["Waived long functions:", ...waived].join("\n  "));
    expect(waived.length).toBeLessThanOrEqual(10);
  });

  it("shows the import matrix in ARCHITECTURE.md as it is enforced", () => {
    const rows = tableUnder(repository.texts.get("ARCHITECTURE.md") ?? "", "Map");
    const shown = Object.fromEntries(rows.map(([room = "", , imports = ""]) => [room, imports]));
    const enforced = Object.entries(ROOMS)
      .filter(([room]) => !/^functions\/|\/fixtures$/.test(room))
      .map(([room, { imports, reach }]): [string, string] => {
        if (reach === "any") return [room, "everything"];
        return [room, imports.join(", ") || "nothing"];
      });
    expect(shown).toEqual(Object.fromEntries(enforced));
  });
});

describe("each rule can fail", () => {
  for (const rule of RULES) {
    it(rule.name, () => {
      for (const files of rule.breaks) {
        expect(rule.check(repositoryOf(files)), JSON.stringify(files)).not.toEqual([]);
      }
      for (const files of rule.keeps) {
        expect(rule.check(repositoryOf(files)), JSON.stringify(files)).toEqual([]);
      }
    });
  }
});
