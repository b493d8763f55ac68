/** Calls against the host form: gateway, cell and egress as processes. */
import { usePlatform } from "../support/platform.ts";
import { describeCases } from "./cases/case.ts";
import { callCases } from "./cases/index.ts";

const platform = usePlatform({ cells: 1 });

for (const group of callCases) describeCases(group, platform);
