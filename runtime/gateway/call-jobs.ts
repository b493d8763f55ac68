/**
 * Store jobs of calls that run in cells without shards. Such a cell ends its calls' jobs itself;
 * when it dies they are nobody's, while the cell of their shard lives on (G4). Pure.
 *
 * O1 A job is kept here from its making until its end, under the process that asked for it.
 * O2 A process is gone when its slot has another one, or none. A slot whose process nobody has
 *    named yet says nothing.
 */
export interface CallJob {
  readonly shard: number;
  readonly namespace: string;
  readonly job: string;
}

interface Owner {
  pid: number | undefined;
  readonly jobs: Map<string, CallJob>;
}

export class CallJobs {
  readonly #owners = new Map<number, Owner[]>();

  made(slot: number, pid: number | undefined, job: CallJob): void {
    const owners = this.#owners.get(slot) ?? [];
    let owner = owners.find((one) => one.pid === pid);
    if (!owner) {
      owner = { pid, jobs: new Map() };
      owners.push(owner);
    }
    owner.jobs.set(job.job, job);
    this.#owners.set(slot, owners);
  }

  ended(slot: number, job: string): void {
    const owners = this.#owners.get(slot);
    if (!owners) return;
    for (const owner of owners) owner.jobs.delete(job);
    const left = owners.filter(({ jobs }) => jobs.size > 0);
    if (left.length > 0) this.#owners.set(slot, left);
    else this.#owners.delete(slot);
  }

  /** Jobs whose process is gone; they are not told again. */
  takeLost(pidOf: (slot: number) => number | undefined): CallJob[] {
    const lost: CallJob[] = [];
    for (const [slot, owners] of this.#owners) {
      const pid = pidOf(slot);
      const alive: Owner[] = [];
      for (const owner of owners) {
        owner.pid ??= pid;
        if (owner.pid === pid) alive.push(owner);
        else lost.push(...owner.jobs.values());
      }
      if (alive.length > 0) this.#owners.set(slot, alive);
      else this.#owners.delete(slot);
    }
    return lost;
  }
}
