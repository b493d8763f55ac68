/** Takes the pieces of an order off the shelf. Undone by `order-release`. */
import type { Context, FunctionConfig } from "isola";
import { type OrderRequest, hold } from "./order/shop.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function reserve(order: OrderRequest, ctx: Context): Promise<OrderRequest> {
  await hold(ctx, order, `shelf/${order.article}`, order.pieces);
  return order;
}
