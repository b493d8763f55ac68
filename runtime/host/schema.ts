/** SQL of the host: it checks and locks databases, and owns none. */
export const CHECK_DATABASE = "PRAGMA quick_check(1)";
export const TAKE_LOCK = "BEGIN EXCLUSIVE";
export const LOCK_AT_ONCE = "PRAGMA busy_timeout = 0";
