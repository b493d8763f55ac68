/**
 * miniflare with the Workflows engine that comes with workerd, in a process of its own. Gets the
 * module and a folder for its files; says the address; ends with its parent.
 */
import { once } from "node:events";
import { Miniflare } from "miniflare";

interface Asked {
  readonly contents: string;
  readonly compatibilityDate: string;
  readonly folder: string;
}

const [{ contents, compatibilityDate, folder }] = (await once(process, "message")) as [Asked];
const miniflare = new Miniflare({
  resourcePersistencePath: folder,
  workers: [
    {
      config: {
        name: "bench",
        compatibilityDate,
        env: { FLOWS: { type: "workflow", name: "flows", worker: "bench", exportName: "Flows" } },
        exports: { Flows: { type: "workflow", name: "flows" } },
        manifest: {
          mainModule: "main.js",
          modulesRoot: "/",
          modules: { "main.js": { type: "esm", contents } },
        },
      },
    },
  ],
});
process.on("disconnect", () => void miniflare.dispose().finally(() => process.exit(0)));
process.send?.({ url: (await miniflare.ready).href });
