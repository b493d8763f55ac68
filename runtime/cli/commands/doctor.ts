import type { Command } from "../command.ts";
import { fields } from "../render/text.ts";

interface Host {
  runDoctor(
    this: void,
    options: { readonly dataDir: string },
  ): Promise<
    readonly {
      readonly name: string;
      readonly ok: boolean;
      readonly found: string;
      readonly disables?: string;
      readonly fix?: string;
    }[]
  >;
}

export const doctorCommand: Command = {
  name: "doctor",
  summary: "say what this system has, what it lacks, what that disables, and what installs it",
  async run(context) {
    const { runDoctor } = (await import(
      new URL("../../host/index.ts", import.meta.url).href
    )) as Host;
    const items = await context.progress("looking around", runDoctor({ dataDir: context.dataDir }));
    context.show({ items }, () =>
      fields(
        items.map(({ name, ok, found, disables, fix }) => {
          const lack = [disables, fix].filter((text) => text !== undefined).join("; ");
          return [`${ok ? "+" : "-"} ${name}`, ok || lack === "" ? found : `${found}; ${lack}`];
        }),
      ),
    );
  },
};
