/** The chain merged into one function: what links cost where nothing is between them. */
import { type Chain, linksOf } from "./chain/request.ts";
import echoValue from "./echo-value.ts";

const MAX_LINKS = 1_000;

export default function chainMerged(chain: Chain): unknown {
  const { value: first = null } = chain;
  let value = first;
  for (let left = linksOf(chain, MAX_LINKS); left > 0; left -= 1) value = echoValue(value);
  return value;
}
