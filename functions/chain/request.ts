/** What every chain is asked for, whatever composes it. */
export interface Chain {
  /** How many functions, one after the other. */
  readonly links: number | string;
  readonly value?: unknown;
}

/** @throws TypeError for a chain that is none. */
export function linksOf(chain: Chain | undefined, max: number): number {
  const links = Number(chain?.links);
  if (Number.isInteger(links) && links >= 1 && links <= max) return links;
  throw new TypeError(`links must be an integer from 1 to ${String(max)}`);
}
