import type { FileMap, Finding, Repository } from "./repository.ts";

export interface Rule {
  /** What is true of the repository, in the present tense. */
  readonly name: string;
  readonly check: (repository: Repository) => readonly Finding[];
  /** Small repositories that break the rule: the proof that it can fail. */
  readonly breaks: readonly FileMap[];
  /** What looks much the same and is allowed. */
  readonly keeps: readonly FileMap[];
}
