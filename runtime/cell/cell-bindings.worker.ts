/**
 * The seam between a cell's code and the form it runs in: sockets of the host form, entrypoints
 * of the same Worker in the collapsed form.
 */
export interface CellBindings {
  readonly slot: number;
  /** Secret of this cell's breadcrumbs; empty where nobody reads stdout. */
  readonly mark: string;
  readonly maxIsolates: number;
  readonly loader: WorkerLoader;
  /** Gateway's supply entrypoint for this slot. */
  readonly supply: Fetcher;
  /** The egress process. */
  readonly egress: Fetcher;
}
