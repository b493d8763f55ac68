/**
 * The shop that orders work on: a job of the store that outlives them. What an order holds stands
 * under the order's id, so doing a step twice, or undoing it twice, is doing it once.
 */
import type { Context } from "isola";

export interface OrderRequest {
  /** Id of the job that is the shop. */
  readonly shop: string;
  /** Chosen by who orders. */
  readonly order: string;
  readonly article: string;
  readonly pieces: number;
  readonly country: string;
}

/** A shelf, or an account: what is left, and what of it each order holds. */
export interface Holding {
  readonly left: number;
  readonly held: Readonly<Record<string, number>>;
}

const EMPTY: Holding = { left: 0, held: {} };

/**
 * Moves an amount between what is left and an order, unless it holds that already.
 *
 * @param amount what the order is to hold; 0 gives everything back.
 * @throws Error if there is not enough.
 */
export async function hold(
  ctx: Context,
  { shop, order }: OrderRequest,
  key: string,
  amount: number,
): Promise<void> {
  const job = ctx.store.job(shop);
  for (;;) {
    const found = await job.get<Holding>(key);
    const { left, held } = found ?? EMPTY;
    const { [order]: has = 0, ...others } = held;
    if (has === amount) return;
    const next = {
      left: left + has - amount,
      held: amount === 0 ? others : { ...others, [order]: amount },
    };
    if (next.left < 0) throw new Error(`${String(left)} left of ${key}, ${String(amount)} wanted`);
    // Another order may have come in between: then it is looked at again.
    if ((await job.compareAndSet(key, found, next, { durability: "disk" })).stored) return;
  }
}
