import { type Finding, lineOf } from "../repository.ts";
import type { Rule } from "../rule.ts";

/** Rotates letters by 13, so that this file does not find itself. */
const rotated = (text: string): string =>
  text.replaceAll(/[a-z]/gi, (letter) => {
    const base = letter <= "Z" ? 65 : 97;
    return String.fromCharCode(((letter.charCodeAt(0) - base + 13) % 26) + base);
  });

/** How, by whom and on which machine it was written is not the repository's subject. */
const FORBIDDEN_WORDS = [
  "pynhqr",
  "naguebcvp",
  "pungtcg",
  "pbcvybg",
  "ynathntr zbqry",
  "nv-trarengrq",
  "nv nffvfgnag",
  "fhontrag",
  "fho-ntrag",
  "pbqvat ntrag",
  "urycre frffvba",
  "gur yrnq",
].map(rotated);
const FORBIDDEN_FOLDERS = ["jbex", "ebbg", "gzc/yno"].map(rotated);

const PATTERNS: readonly RegExp[] = [
  new RegExp(String.raw`\b(${FORBIDDEN_WORDS.join("|")})s?\b`, "gi"),
  new RegExp(String.raw`(?<![\w.}*$-])/(${FORBIDDEN_FOLDERS.join("|")})/`, "g"),
  /(?<![\w.}*$-])\/home\/[a-z]+\//g,
  /\b(registry|mirror)\.[\w.-]+\.(org|com|net|io|dev)\b/gi,
];

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
      { "README.md": rotated("jevggra ol Pynhqr") },
      { "store/a.ts": rotated('pbafg cngu = "/jbex/znva";') },
      { ".npmrc": rotated("uggcf://ertvfgel.rknzcyr.bet/") },
    ],
    keeps: [
      { "store/a.ts": 'headers.get("user-agent"); path("/function/framework/"); registry.get();' },
    ],
  },
];
