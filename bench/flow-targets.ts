/**
 * What `flows` compares: Isola's forms of a composition, the bare prototype of gateway and cell,
 * and two other engines. Each answers the same compositions over HTTP.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleOf, bundleOfLine } from "./bundle.ts";
import { KINDS } from "./fixtures/index.ts";
import { fixtureCode, type NamedProcess } from "./baselines.ts";
import { type IsolaTarget, deployCode, startIsola } from "./platform.ts";
import { type ChildProgram, startWorkerd } from "./processes.ts";

export const COMPATIBILITY_DATE = "2026-11-01";
export const STEPS = ["classify", ...KINDS, "say", "increment"] as const;

export const COMPOSITIONS = ["fizzbuzz", "chain", "fan"] as const;
export type Composition = (typeof COMPOSITIONS)[number];

/** Of the code form. */
const CLASSES = { fizzbuzz: "Fizzbuzz", chain: "Chain", fan: "Fan" } as const;

export const FLOW_TARGETS = [
  "prototype, step",
  "prototype, run",
  "by hand",
  "isola, step",
  "isola, run",
  "isola, code",
  "restate",
  "bundled",
] as const;
export type FlowTargetName = (typeof FLOW_TARGETS)[number];

export interface FlowTarget {
  readonly name: FlowTargetName;
  /** Where each composition is posted to. */
  readonly urls: Readonly<Record<Composition, string>>;
  /** Where FizzBuzz is begun without waiting for it; absent where nothing like that is. */
  readonly startUrl?: string;
  readonly processes: () => readonly NamedProcess[];
}

/** Programs and the targets that they are. */
export interface FlowGroup {
  readonly targets: readonly FlowTarget[];
  readonly stop: () => Promise<void>;
}

export const urlsOf = (
  of: (composition: Composition) => string,
): Readonly<Record<Composition, string>> => ({
  fizzbuzz: of("fizzbuzz"),
  chain: of("chain"),
  fan: of("fan"),
});

export const stepCode = (name: string): Promise<string> =>
  bundleOfLine(`export { ${name} as default } from "./flow-steps.ts";`);

function prototypeConfig(socket: string, disk: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "disk", disk = (path = "${disk}", writable = true)),
  ],
  sockets = [ (name = "http", address = "${socket}", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "cell.js") ],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  bindings = [
    (name = "LOADER", workerLoader = (id = "functions")),
    (name = "RUNS", durableObjectNamespace = "Runs"),
    (name = "STEPS", json = embed "steps.json"),
  ],
  durableObjectNamespaces = [
    (className = "Runs", uniqueKey = "runs", enableSql = true, preventEviction = true),
  ],
  durableObjectStorage = (localDisk = "disk"),
);
`;
}

function gatewayConfig(socket: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "cell", external = (address = "${socket}", http = ())),
  ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "gateway.js") ],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  bindings = [ (name = "CELL", service = "cell") ],
);
`;
}

/** Two processes, as Isola's: a gateway in front of a cell with one actor. */
export async function startPrototype(folder: string): Promise<FlowGroup> {
  const socket = `unix:${join(folder, "cell.sock")}`;
  const steps = await Promise.all(STEPS.map(async (name) => [name, await stepCode(name)]));
  const disk = join(folder, "disk");
  await mkdir(disk, { recursive: true });
  const files = {
    "cell.js": await bundleOf("flow-prototype.worker.ts"),
    "gateway.js": await fixtureCode("gateway.worker.ts"),
    "steps.json": JSON.stringify(Object.fromEntries(steps)),
    "cell.capnp": prototypeConfig(socket, disk),
    "gateway.capnp": gatewayConfig(socket),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const cell = await startWorkerd(join(folder, "cell.capnp"));
  const programs: ChildProgram[] = [cell];
  const stop = async (): Promise<void> => {
    await Promise.all(programs.map((program) => program.stop()));
  };
  try {
    const gateway = await startWorkerd(join(folder, "gateway.capnp"));
    programs.push(gateway);
    const url = `http://127.0.0.1:${gateway.port}/`;
    const processes = (): readonly NamedProcess[] => [
      { name: "gateway", pid: gateway.pid },
      { name: "cell", pid: cell.pid },
    ];
    const of = (durability: string) =>
      urlsOf((composition) => `${url}${composition}?durability=${durability}`);
    return {
      targets: [
        {
          name: "prototype, step",
          urls: of("step"),
          startUrl: `${url}fizzbuzz?start=1`,
          processes,
        },
        { name: "prototype, run", urls: of("run"), processes },
      ],
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Deploys the steps, the compositions by hand, and the workflows in both durabilities. */
export async function deployFlows({ client }: Pick<IsolaTarget, "client">): Promise<void> {
  for (const name of STEPS) await deployCode(client, name, await stepCode(name));
  for (const composition of COMPOSITIONS) {
    const byHand = `export { ${composition} as default } from "./flow-by-hand.ts";`;
    await deployCode(client, `${composition}-by-hand`, await bundleOfLine(byHand));
    const code = `export { ${CLASSES[composition]} as default } from "./flow-code.ts";`;
    await deployCode(client, `${composition}-code`, await bundleOfLine(code));
    for (const durability of ["step", "run"]) {
      const made = `import { ${composition} } from "./flow-workflows.ts";
export default ${composition}("${durability}");`;
      await deployCode(client, `${composition}-${durability}`, await bundleOfLine(made));
    }
  }
  await deployCode(client, "pause", await bundleOf("flow-pause.ts"));
  const others = { waiting: "waiting()", pausing: 'chain("step", "pause")' };
  for (const [name, made] of Object.entries(others)) {
    const line = `import { chain, waiting } from "./flow-workflows.ts"; export default ${made};`;
    await deployCode(client, name, await bundleOfLine(line));
  }
}

export interface FlowPlatform extends FlowGroup {
  readonly isola: IsolaTarget;
}

export async function startFlows(
  folder: string,
  options: readonly string[] = [],
): Promise<FlowPlatform> {
  const isola = await startIsola(folder, await fixtureCode("hello.ts"), options);
  const { publicUrl, processes, stop } = isola;
  try {
    await deployFlows(isola);
  } catch (error) {
    await stop();
    throw error;
  }
  const of = (form: string) =>
    urlsOf((composition) => `${publicUrl}/function/${composition}-${form}`);
  const start = (form: string): string => `${publicUrl}/async-function/fizzbuzz-${form}`;
  return {
    isola,
    targets: [
      { name: "by hand", urls: of("by-hand"), processes },
      { name: "isola, step", urls: of("step"), startUrl: start("step"), processes },
      { name: "isola, run", urls: of("run"), startUrl: start("run"), processes },
      { name: "isola, code", urls: of("code"), startUrl: start("code"), processes },
    ],
    stop,
  };
}
