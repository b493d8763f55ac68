/** Puts the pieces of an order back on the shelf: undoes `order-reserve`. */
import type { Context, FunctionConfig } from "isola";
import { type OrderRequest, hold } from "./order/shop.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function release(
  { input }: { readonly input: OrderRequest },
  ctx: Context,
): Promise<void> {
  await hold(ctx, input, `shelf/${input.article}`, 0);
}
