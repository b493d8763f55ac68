/**
 * The compositions as services of Restate, for its server in a process of its own: each step is a
 * call of another service. Prints the port it listens on; ends with its parent.
 */
import { type Context, RestatePromise, serve, service } from "@restatedev/restate-sdk";
import {
  type Classified,
  both,
  buzz,
  classify,
  fizz,
  increment,
  number,
  say,
} from "../fixtures/index.ts";

/** A service of one handler, which is a function. */
const serviceOf = <Name extends string, Input, Output>(name: Name, run: (input: Input) => Output) =>
  service({
    name,
    handlers: { run: async (_ctx: Context, input: Input): Promise<Output> => run(input) },
  });

const speakers = {
  fizz: serviceOf("fizz", fizz),
  buzz: serviceOf("buzz", buzz),
  both: serviceOf("both", both),
  number: serviceOf("number", number),
};
const classifier = serviceOf("classify", classify);
const speaker = serviceOf("say", say);
const counter = serviceOf("increment", increment);

const fizzbuzz = service({
  name: "fizzbuzz",
  handlers: {
    run: async (ctx: Context, n: number): Promise<string> => {
      const classified: Classified = await ctx.serviceClient(classifier).run(n);
      const spoken = await ctx.serviceClient(speakers[classified.kind]).run(classified);
      return ctx.serviceClient(speaker).run(spoken);
    },
  },
});

const chain = service({
  name: "chain",
  handlers: {
    run: async (ctx: Context, steps: number): Promise<number> => {
      let value = steps;
      for (let step = 0; step < steps; step += 1)
        value = await ctx.serviceClient(counter).run(value);
      return value;
    },
  },
});

const fan = service({
  name: "fan",
  handlers: {
    run: async (ctx: Context, width: number): Promise<number> => {
      const calls = [...Array(width).keys()].map((item) => ctx.serviceClient(counter).run(item));
      const results = await RestatePromise.all(calls);
      return results.reduce((sum, one) => sum + one, 0);
    },
  },
});

const services = [...Object.values(speakers), classifier, speaker, counter, fizzbuzz, chain, fan];
process.on("disconnect", () => process.exit(0));
process.send?.({ port: await serve({ services, port: 0 }) });
