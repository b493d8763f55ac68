/**
 * An order, a saga: reserve, charge, ship. A step that fails undoes those before it, the newest
 * first, and the caller hears why.
 *
 * Input: an `OrderRequest`; result: an `OrderResult`.
 */
import { flow } from "isola";
import type { OrderRequest } from "./shop.ts";

export interface OrderResult {
  readonly order: string;
  readonly state: "shipped" | "refused";
  readonly reason?: string;
}

export default flow<OrderRequest>((dag, { input: { order } }) => {
  dag
    .node<OrderRequest>("order")
    .apply<OrderRequest>("order-reserve", { compensate: "order-release" })
    .apply<OrderRequest>("order-charge", { compensate: "order-refund" })
    .apply<OrderRequest>("order-ship")
    .modify((): OrderResult => ({ order, state: "shipped" }));
  dag.onFailure(({ message }): OrderResult => ({ order, state: "refused", reason: message }));
});
