/** Calls against the host form: gateway, cell and egress as processes. */
import { usePlatform } from "../support/platform.ts";
import { contentTypeCases } from "./cases/content-types.ts";
import { describeCases } from "./cases/case.ts";
import { formCases } from "./cases/forms.ts";

const platform = usePlatform({ cells: 1 });

for (const group of [formCases, contentTypeCases]) describeCases(group, platform);
