/** The store from functions, against the host form: two cells with a shard each. */
import { usePlatform } from "../support/platform.ts";
import { describeCases } from "./cases/case.ts";
import { storeCases } from "./cases/index.ts";

const platform = usePlatform({ cells: 2 });

for (const group of storeCases) describeCases(group, platform);
