/** What `isola init` writes, as data. */
export interface Template {
  readonly summary: string;
  /** Files beside those of every project. */
  readonly files: Readonly<Record<string, string>>;
  /** Its types are Cloudflare's. @default those of a Web worker */
  readonly isCloudflare?: true;
}

const FUNCTION = `import type { Context, FunctionConfig } from "isola";

export const config = { timeoutMs: 5_000 } satisfies FunctionConfig;

interface Person {
  name?: string;
}

export default async function hello(person: Person | undefined, ctx: Context) {
  const name = person?.name ?? "world";
  ctx.log.info(\`greeting \${name}\`);
  return { greeting: \`Hello, \${name}!\` };
}
`;

const HTTP = `import type { FunctionConfig } from "isola";

export const config = { timeoutMs: 5_000 } satisfies FunctionConfig;

export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname !== "/") return new Response("not found\\n", { status: 404 });
    const name = url.searchParams.get("name") ?? "world";
    console.log(\`greeting \${name}\`);
    return new Response(\`Hello, \${name}!\\n\`);
  },
};
`;

const WORKFLOW = `import { flow, type FunctionConfig } from "isola";
import type hello from "./hello.ts";

export const config = { timeoutMs: 60_000 } satisfies FunctionConfig;

interface Guests {
  names: string[];
}

// Greets everybody, some at once; a greeting that fails is tried again.
export default flow<Guests>((dag) => {
  const each = dag.forEachBranch("each", ({ names }: Guests) => names, {
    concurrency: 4,
    aggregator: (greetings) => Object.values(greetings),
  });
  each
    .node<string>("greet")
    .modify((name) => ({ name }))
    .apply<typeof hello>("hello", { retry: { limit: 3, delayMs: 100 } })
    .modify(({ greeting }) => greeting);
});
`;

const CODE_WORKFLOW = `import { WorkflowEntrypoint } from "cloudflare:workers";
import type { WorkflowEvent, WorkflowStep } from "cloudflare:workers";
import type { Context, FunctionConfig } from "isola";

export const config = { timeoutMs: 60_000 } satisfies FunctionConfig;

interface Env {
  ISOLA: Context;
}

interface Guests {
  names: string[];
}

// Greets everybody, one after the other, with a pause; what a step made is never made again.
export default class Welcome extends WorkflowEntrypoint<Env, Guests> {
  override async run({ payload }: Readonly<WorkflowEvent<Guests>>, step: WorkflowStep) {
    const greetings: string[] = [];
    for (const name of payload.names) {
      const retries = { limit: 3, delay: 100 };
      const greeting = await step.do(\`greet \${name}\`, { retries }, async () => {
        const answer = await this.env.ISOLA.call<{ greeting: string }>("hello", { name });
        return answer.greeting;
      });
      greetings.push(greeting);
      await step.sleep("pause", 100);
    }
    return greetings;
  }
}
`;

export const TEMPLATES: Readonly<Record<string, Template>> = {
  function: {
    summary: "a data function: plain values in and out",
    files: { "functions/hello.ts": FUNCTION },
  },
  http: {
    summary: "an HTTP function: any Workers module",
    files: { "functions/hello.ts": HTTP },
  },
  workflow: {
    summary: "a workflow and a function that it calls",
    files: { "functions/hello.ts": FUNCTION, "functions/welcome.ts": WORKFLOW },
  },
  "code-workflow": {
    summary: "the same as code, in Cloudflare's form",
    files: { "functions/hello.ts": FUNCTION, "functions/welcome.ts": CODE_WORKFLOW },
    isCloudflare: true,
  },
};

const CLOUDFLARE_TYPES = "@cloudflare/workers-types";

const tsconfig = (isCloudflare: boolean): string => `{
  "compilerOptions": {
    "target": "ES2024",
    "lib": ${isCloudflare ? '["ES2024"]' : '["ES2024", "WebWorker"]'},
    "module": "ESNext",
    "moduleResolution": "Bundler",
    "types": [${isCloudflare ? `"${CLOUDFLARE_TYPES}"` : ""}],
    "strict": true,
    "noEmit": true,
    "allowImportingTsExtensions": true,
    "verbatimModuleSyntax": true,
    "skipLibCheck": true
  },
  "include": ["functions"]
}
`;

const SETTINGS = `# Every key can also be a flag or a variable: isola help start, isola help deploy.
[platform]
# port = 8080
# adminPort = 8081
# cells = 2

[deploy]
dir = "functions"

# Stronger than what the function itself exports as \`config\`.
[functions.hello]
timeoutMs = 5_000
`;

const IGNORED = `node_modules/
.isola/
.isola.key
`;

const README = `# Functions

\`\`\`
npx isola dev                                  # start, redeploy on save, follow the logs
npx isola invoke hello                         # call it
npx isola deploy                               # deploy to a platform that runs elsewhere
\`\`\`

Each file in \`functions/\`, and each folder there with an \`index.ts\`, is a function of that name;
files that begin with \`_\` are not. \`isola.toml\` holds the settings.
`;

/** Files of a new project by path. */
export function projectFiles(
  template: Template,
  name: string,
  dependency: string,
): ReadonlyMap<string, string> {
  const isCloudflare = template.isCloudflare === true;
  const manifest = {
    name,
    private: true,
    type: "module",
    scripts: { dev: "isola dev", deploy: "isola deploy", check: "tsc" },
    dependencies: { isola: dependency },
    devDependencies: {
      ...(isCloudflare ? { [CLOUDFLARE_TYPES]: "^5.20261117.1" } : {}),
      typescript: "^7.0.2",
    },
  };
  return new Map([
    ["package.json", `${JSON.stringify(manifest, undefined, 2)}\n`],
    ["tsconfig.json", tsconfig(isCloudflare)],
    ["isola.toml", SETTINGS],
    [".gitignore", IGNORED],
    ["README.md", README],
    ...Object.entries(template.files),
  ]);
}
