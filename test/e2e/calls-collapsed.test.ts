/** Calls against one Worker under `wrangler dev`. */
import { usePlatform } from "../support/platform.ts";
import { describeCases } from "./cases/case.ts";
import { callCases } from "./cases/index.ts";

const platform = usePlatform({}, "collapsed");

for (const group of callCases) describeCases(group, platform);
