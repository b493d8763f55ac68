import { type Finding, lineOf } from "../repository.ts";
import type { Rule } from "../rule.ts";

/**
 * How, by whom and on which machine it was written is not the repository's subject. Patterns, each
 * with a letter in brackets: so this file does not find itself.
 */
const FORBIDDEN_WORDS = [
  "[c]laude",
  "[a]nthropic",
  "[c]hatgpt",
  "[c]opilot",
  "[l]anguage model",
  "[a]i-generated",
  "[a]i assistant",
  "[s]ubagent",
  "[s]ub-agent",
  "[c]oding agent",
  "[h]elper session",
  "[t]he lead",
];
const FORBIDDEN_FOLDERS = ["[w]ork", "[r]oot", "[t]mp/lab"];

const PATTERNS: readonly RegExp[] = [
  new RegExp(String.raw`\b(${FORBIDDEN_WORDS.join("|")})s?\b`, "gi"),
  new RegExp(String.raw`(?<![\w.}*$-])/(${FORBIDDEN_FOLDERS.join("|")})/`, "g"),
  /(?<![\w.}*$-])\/home\/[a-z]+\//g,
  /\b(registry|mirror)\.[\w.-]+\.(org|com|net|io|dev)\b/gi,
];

const unbracketed = (pattern = ""): string => pattern.replace(/^\[(.)\]/, "$1");

export const WORD_RULES: readonly Rule[] = [
  {
    name: "the repository speaks of Isola alone",
    check: ({ texts }) =>
      [...texts].flatMap(([path, text]) =>
        PATTERNS.flatMap((pattern) =>
          [...text.matchAll(pattern)].map((match): Finding => ({
            path,
            line: lineOf(text, match.index),
            message: `"${match[0]}" is about something else`,
          })),
        ),
      ),
    breaks: [
      { "README.md": `written by ${unbracketed(FORBIDDEN_WORDS[0])}` },
      { "store/a.ts": `const path = "/${unbracketed(FORBIDDEN_FOLDERS[0])}/main";` },
      { ".npmrc": ["https://registry", "example.org"].join(".") },
    ],
    keeps: [
      { "store/a.ts": 'headers.get("user-agent"); path("/function/framework/"); registry.get();' },
    ],
  },
];
