/** Gives the money of an order back: undoes `order-charge`. */
import type { Context, FunctionConfig } from "isola";
import { type OrderRequest, hold } from "./order/shop.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function refund(
  { input }: { readonly input: OrderRequest },
  ctx: Context,
): Promise<void> {
  await hold(ctx, input, "credit", 0);
}
