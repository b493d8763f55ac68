import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchesHost, parseAddress, refuseTarget } from "../../runtime/gateway/internal.ts";

const refused = (
  url: string,
  policy: "public" | "none" | string[] = "public",
  allow: string[] = [],
) => refuseTarget(new URL(url), policy, allow) !== undefined;

describe("addresses that are not public", () => {
  it.each([
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0.0.0.0/",
    "http://10.1.2.3/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[fe80::1]/",
    "http://[ff02::1]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://db.localhost/",
    "http://１２７.０.０.１/",
  ])("%s is refused", (url) => {
    expect(refused(url)).toBe(true);
  });

  it.each(["http://93.184.216.34/", "https://example.com/", "http://[2606:4700::1111]/"])(
    "%s is not one of them",
    (url) => {
      expect(refused(url)).toBe(false);
    },
  );

  it("are let through by a range that the operator names, and by no other", () => {
    expect(refused("http://10.1.2.3/", "public", ["10.0.0.0/8"])).toBe(false);
    expect(refused("http://11.1.2.3/", "public", ["10.0.0.0/8"])).toBe(false);
    expect(refused("http://192.168.1.1/", "public", ["10.0.0.0/8"])).toBe(true);
    expect(refused("http://[::1]/", "public", ["::1/128"])).toBe(false);
    expect(refused("http://localhost/", "public", ["127.0.0.0/8"])).toBe(false);
    expect(refused("http://[::ffff:10.0.0.1]/", "public", ["10.0.0.0/8"])).toBe(false);
  });
});

describe("an allow-list", () => {
  it("names hosts exactly, or all below a name", () => {
    const list = ["api.example.com", "*.example.org"];
    expect(refused("https://api.example.com/x", list)).toBe(false);
    expect(refused("https://API.EXAMPLE.COM./x", list)).toBe(false);
    expect(refused("https://a.b.example.org/", list)).toBe(false);
    expect(refused("https://example.org/", list)).toBe(true);
    expect(refused("https://notexample.org/", list)).toBe(true);
    expect(refused("https://api.example.com.evil.net/", list)).toBe(true);
    expect(refused("https://evil.net/?api.example.com", list)).toBe(true);
    expect(refused("https://api.example.com@evil.net/", list)).toBe(true);
  });

  it("may name a port; without one every port is meant", () => {
    expect(matchesHost("a.net:8443", "a.net", "8443")).toBe(true);
    expect(matchesHost("a.net:8443", "a.net", "443")).toBe(false);
    expect(matchesHost("a.net", "a.net", "8443")).toBe(true);
    expect(refused("https://a.net/", ["a.net:443"])).toBe(false);
    expect(refused("http://a.net/", ["a.net:443"])).toBe(true);
  });

  it("does not open private addresses, not even by name", () => {
    expect(refused("http://10.0.0.1/", ["10.0.0.1"])).toBe(true);
    expect(refused("http://localhost/", ["localhost"])).toBe(true);
  });

  it("that is empty, and the word none, allow nothing", () => {
    expect(refused("https://example.com/", [])).toBe(true);
    expect(refused("https://example.com/", "none")).toBe(true);
  });
});

describe("protocols", () => {
  it("other than http and https are refused", () => {
    for (const url of ["ftp://example.com/", "file:///etc/passwd", "ws://example.com/"]) {
      expect(refused(url)).toBe(true);
    }
  });
});

describe("spellings of an address", () => {
  it("all mean what the URL parser makes of them", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const bytes = parseAddress(new URL(`http://[${text}]/`).hostname);
        expect(bytes).toHaveLength(16);
      }),
    );
    fc.assert(
      fc.property(fc.ipV4Extended(), (text) => {
        expect(parseAddress(new URL(`http://${text}/`).hostname)).toHaveLength(4);
      }),
    );
  });
});
