/** The store from functions in a cell that holds no shard: through the gateway, over sockets. */
import { beforeAll } from "vitest";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { describeCases } from "./cases/case.ts";
import { storeCases } from "./cases/index.ts";

const NAMESPACE = "own";

const platform = usePlatform({ cells: 1 });

beforeAll(async () => {
  await platform().client.namespaces.create({ namespace: NAMESPACE, cells: "dedicated" });
});

/** The same platform, seen from a namespace with cells of its own. */
function within(whole: TestPlatform): TestPlatform {
  return {
    ...whole,
    client: whole.client.in(NAMESPACE),
    deploy: (name, source, config, options) =>
      whole.deploy(name, source, config, { namespace: NAMESPACE, ...options }),
    call: (target, init) => {
      const [, name = "", rest = ""] = /^([^/?]*)(.*)$/.exec(target) ?? [];
      return whole.call(`${name.includes(".") ? name : `${name}.${NAMESPACE}`}${rest}`, init);
    },
  };
}

for (const group of storeCases) describeCases(group, () => within(platform()));
