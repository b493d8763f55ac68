/** Cases that hold in every form of the platform: told once, run against each. */
import { beforeAll, describe, it } from "vitest";
import type { TestPlatform } from "../../support/platform.ts";

export type Case = (platform: TestPlatform) => Promise<void>;

export interface CaseGroup {
  readonly topic: string;
  /** Runs before the first case; deploys what they call. */
  readonly prepare?: Case;
  /** By what happens. */
  readonly cases: Readonly<Record<string, Case>>;
  /** The cases wait more than they work. */
  readonly isConcurrent?: true;
}

export function describeCases(group: CaseGroup, platform: () => TestPlatform): void {
  describe(group.topic, () => {
    const { prepare } = group;
    if (prepare) beforeAll(() => prepare(platform()), 30_000);
    const test = group.isConcurrent === true ? it.concurrent : it;
    for (const [name, run] of Object.entries(group.cases)) test(name, () => run(platform()));
  });
}
