import { type Finding, type Repository, at } from "../repository.ts";
import type { Rule } from "../rule.ts";

type Comment = Repository["sources"][number]["comments"][number];

const OWNED = /\bTODO\(#\d+\)/;
const STATEMENT = /^((const|let|var|import|export|return|await|throw)\b|(if|for|while) \().*[;{]$/;
const CALL = /^(this\.)?[\w.]+\(.*\);$/;

function commentFault(comment: Comment): string | undefined {
  if (/\b(FIXME|XXX|HACK)\b/.test(comment.value)) return "what needs fixing is fixed or filed";
  if (/\bTODO\b/.test(comment.value) && !OWNED.test(comment.value)) {
    return "a TODO names its issue: TODO(#12)";
  }
  const isDocument = comment.value.startsWith("*");
  const lines = comment.value.split("\n").map((line) => line.trim());
  if (!isDocument && lines.some((line) => STATEMENT.test(line) || CALL.test(line))) {
    return "code that is commented out";
  }
  return undefined;
}

export const COMMENT_RULES: readonly Rule[] = [
  {
    name: "comments hold neither debts without owner nor dead code",
    check: ({ sources }) =>
      sources.flatMap((source) =>
        source.comments.flatMap((comment): Finding[] => {
          const message = commentFault(comment);
          return message === undefined ? [] : [at(source, comment.start, message)];
        }),
      ),
    breaks: [
      { "store/a.ts": "// FIXME later" },
      { "store/a.ts": "// TODO: later" },
      { "store/a.ts": "// const a = f(b);" },
      { "store/a.ts": "/*\n  if (a) {\n    g();\n  }\n*/" },
      { "store/a.ts": "// this.table.clear();" },
    ],
    keeps: [
      { "store/a.ts": "// TODO(#12) later" },
      { "store/a.ts": "// If (a) holds, the caller returns a value; otherwise nothing." },
      { "store/a.ts": '/** `const a = f("b");` */' },
    ],
  },
];
