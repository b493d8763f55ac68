/**
 * The call envelope on its way between gateway, cell and isolate: one text in the request's `cf`
 * object. As an object of its own in `cf` it cost each of its three readers a JSON text to take
 * apart and a tree to freeze; a text of lines costs one split.
 */
import type { CallEnvelope } from "./call.ts";
import { packAttempt, unpackAttempt } from "./store-attempt.ts";

/** The `cf` object of a call. */
export interface EnvelopeCarrier {
  readonly c: string;
}

/**
 * No field holds a line break: ids and names are labels and hex, the rest came as headers; the id
 * of a step, which holds keys of items, is escaped.
 */
const SEPARATOR = "\n";

export function packEnvelope(envelope: CallEnvelope): EnvelopeCarrier {
  const { id, ns, fn, v, dl, tp, at, ik, ch, sg, fr, mb, sj = "", rs } = envelope;
  const attempt = rs === undefined ? "" : `\n${rs.run}\n${packAttempt(rs)}`;
  return {
    c:
      `${id}\n${ns}\n${fn}\n${v}\n${dl}\n${tp}\n${at}\n${ik}\n` +
      `${ch.join(" ")}\n${sg}\n${fr}\n${mb}\n${sj}${attempt}`,
  };
}

const NO_CHAIN: readonly string[] = [];

/** @param carrier what a process of the platform made; nobody else reaches its sockets. */
export function unpackEnvelope({ c }: EnvelopeCarrier): CallEnvelope {
  const [
    id = "",
    ns = "",
    fn = "",
    v,
    dl,
    tp = "",
    at,
    ik = "",
    ch = "",
    sg,
    fr,
    mb,
    sj = "",
    run,
    attempt = "",
  ] = c.split(SEPARATOR);
  return {
    id,
    ns,
    fn,
    v: Number(v),
    dl: Number(dl),
    tp,
    at: Number(at),
    ik,
    ch: ch === "" ? NO_CHAIN : ch.split(" "),
    sg: Number(sg),
    fr: fr === "1" ? 1 : 0,
    mb: Number(mb),
    ...(sj === "" ? {} : { sj }),
    ...(run === undefined ? {} : { rs: { run, ...unpackAttempt(attempt) } }),
  };
}
