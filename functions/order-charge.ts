/** Charges the credit of whoever ordered. Undone by `order-refund`. */
import type { Context, FunctionConfig } from "isola";
import { type OrderRequest, hold } from "./order/shop.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

const PRICE = 20;

export default async function charge(order: OrderRequest, ctx: Context): Promise<OrderRequest> {
  await hold(ctx, order, "credit", order.pieces * PRICE);
  return order;
}
