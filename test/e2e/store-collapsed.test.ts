/** The store from functions, against one Worker under `wrangler dev`. */
import { usePlatform } from "../support/platform.ts";
import { describeCases } from "./cases/case.ts";
import { storeCases } from "./cases/index.ts";

const platform = usePlatform({}, "collapsed");

for (const group of storeCases) describeCases(group, platform);
