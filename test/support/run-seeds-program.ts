/**
 * Plays seeds until one fails: `run-seeds-program.ts <first> <count>`. For the mutation check,
 * which runs it over sources that lack a line; exits with 1 and names the seed.
 */
import { playSeed } from "./run-seeds.ts";

const [first = 1, count = 100] = process.argv.slice(2).map(Number);
for (let seed = first; seed < first + count; seed += 1) {
  try {
    await playSeed(seed);
  } catch (thrown) {
    console.log(`seed ${String(seed)}: ${String(thrown).split("\n")[0]}`);
    process.exit(1);
  }
}
