/** The workflows beside the film pipeline, each with an account of what it did. */
import { readFileSync } from "node:fs";
import type { Decision } from "../expense/rules.ts";
import type { OrderResult } from "../order/index.ts";
import type { Holding, OrderRequest } from "../order/shop.ts";
import type { WordCount } from "../word-count-reduce.ts";
import { type Platform, check, number, packageFile, say, seconds } from "./platform.ts";

const COUNT = 15;
const ANSWERS = "1 2 Fizz 4 Buzz Fizz 7 8 Fizz Buzz 11 Fizz 13 14 FizzBuzz";
const PATH_OF_15 = "number > branch > branch.fizz-and-buzz.answer";
const CHAINS = [1, 2, 6, 50] as const;
const COMPARED_LINKS = 6;
const COMPARED_TIMES = 5;

export async function runFizzBuzz(platform: Platform): Promise<void> {
  say("3. FizzBuzz, as a workflow of five functions and by hand");
  for (const name of ["fizzbuzz", "fizzbuzz-coordinator", "fizzbuzz-merged"]) {
    const fromMs = performance.now();
    const answers: string[] = [];
    for (let n = 1; n <= COUNT; n += 1) {
      answers.push(JSON.parse(await platform.call(`${name}?n=${String(n)}`)) as string);
    }
    say(`   ${each(name, fromMs, COUNT)}`);
    check(answers.join(" ") === ANSWERS, `${name} answered ${answers.join(" ")}`);
  }
  say(`   all of them: ${ANSWERS}`);
  const [last] = (await platform.client.runs.list({ function: "fizzbuzz", limit: 1 })).items;
  const { edges } = await platform.client.runs.graph(last?.id ?? "");
  const path = ["number", ...edges.map(({ to }) => to)].join(" > ");
  say(`   the run of ${String(COUNT)} went through ${path}`);
  check(path === PATH_OF_15, `the graph of the run is ${path}`);
}

const each = (name: string, fromMs: number, count: number): string =>
  `${name.padEnd(22)} ${((performance.now() - fromMs) / count).toFixed(1).padStart(6)} ms a call`;

export async function runChains(platform: Platform): Promise<void> {
  const times: string[] = [];
  for (const links of CHAINS) {
    const fromMs = performance.now();
    const value = await platform.value("chain", { links, value: "hello" });
    check(value === "hello", `a chain of ${String(links)} answered ${JSON.stringify(value)}`);
    times.push(`${String(links)}: ${(performance.now() - fromMs).toFixed(1)} ms`);
  }
  say(`4. Chains of echo functions, built for each run by its request: ${times.join(", ")}`);
  for (const form of ["", "-merged", "-direct", "-coordinator", "-events"]) {
    const name = `chain${form}`;
    await platform.value(name, { links: COMPARED_LINKS, value: "warm" });
    const fromMs = performance.now();
    for (let time = 0; time < COMPARED_TIMES; time += 1) {
      const value = await platform.value(name, { links: COMPARED_LINKS, value: time });
      check(value === time, `${name} answered ${JSON.stringify(value)}, not ${String(time)}`);
    }
    say(`   ${each(name, fromMs, COMPARED_TIMES)} of ${String(COMPARED_LINKS)} links`);
  }
}

/** What Node's documentation says of two modules, as their types carry it. */
function realText(): string {
  const files = ["fs.d.ts", "http.d.ts"].map((name) => packageFile(`@types/node/${name}`));
  return files.map((file) => readFileSync(file, "utf8")).join("\n");
}

export async function runWordCount(platform: Platform): Promise<void> {
  const fromMs = performance.now();
  const init = { method: "POST", headers: { "content-type": "text/plain" }, body: realText() };
  const counted = JSON.parse(await platform.call("word-count", init)) as WordCount;
  const { parts, words, distinct, top } = counted;
  say(`5. Words of Node's documentation, by map and reduce (${seconds(fromMs)})`);
  say(`   ${number(words)} words in ${String(parts)} parts, ${number(distinct)} different, most:`);
  say(`   ${top.map(([word, count]) => `${word} ${number(count)}`).join(", ")}`);
  const byHand = JSON.parse(await platform.call("word-count-coordinator", init)) as WordCount;
  check(
    parts > 1 && words > distinct && distinct > 1_000,
    `word-count: ${JSON.stringify(counted)}`,
  );
  check(JSON.stringify(byHand) === JSON.stringify(counted), "counted by hand it is not the same");
}

const SHELF = 5;
const CREDIT = 90;
const ORDERS = [
  { order: "o-1", pieces: 2, country: "SE" },
  { order: "o-2", pieces: 2, country: "AQ" },
  { order: "o-3", pieces: 3, country: "NO" },
  { order: "o-4", pieces: 9, country: "DK" },
] as const;

/** Orders, of which some cannot be: what was done for them is undone, the newest step first. */
export async function runOrders(platform: Platform): Promise<void> {
  const { store } = platform.client;
  const shop = (await store.createJob({ name: "shop", durability: "disk" })).id;
  const bucket = store.job(shop).bucket("default");
  await bucket.putValue("shelf/lamp", { left: SHELF, held: {} } satisfies Holding);
  await bucket.putValue("credit", { left: CREDIT, held: {} } satisfies Holding);
  say("6. Orders: reserve, charge, ship; what fails is undone, the newest step first");
  let shipped = 0;
  for (const wanted of ORDERS) {
    const request: OrderRequest = { shop, article: "lamp", ...wanted };
    const result = await platform.value<OrderResult>("order", request);
    const { order, state, reason = "" } = result;
    const line = `${order}  ${String(wanted.pieces)} lamps to ${wanted.country}  ${state}`;
    say(`   ${line}  ${reason}`.trimEnd());
    if (state === "shipped") shipped += wanted.pieces;
  }
  const left = (await (await bucket.get("shelf/lamp")).value()) as Holding;
  say(`   left on the shelf: ${String(left.left)} of ${String(SHELF)} lamps`);
  check(left.left === SHELF - shipped, `${String(left.left)} lamps are left`);
  await store.job(shop).end();
}

/** Expenses that somebody approves, in both forms of a workflow. */
export async function runExpenses(platform: Platform): Promise<void> {
  say("7. Expenses, as a DAG and as code: small ones pass by rule, others wait for somebody");
  for (const name of ["expense", "expense-code"]) {
    const small = await platform.value<Decision>(name, { who: "Ada", amount: 80 });
    check(small.by === "rule", `${name} decided ${JSON.stringify(small)}`);
    const id = await platform.start(name, { who: "Alan", amount: 800 });
    const waiting = await platform.statusOf(id);
    await platform.client.runs.signal(id, {
      type: "decision",
      payload: { approved: true, by: "Grace" } satisfies Decision,
    });
    const { by } = await platform.result<Decision>(id);
    say(`   ${name.padEnd(13)} 80: by ${small.by}; 800: ${waiting}, then by ${by}`);
    check(by === "Grace", `${name} was decided by ${by}`);
  }
}
