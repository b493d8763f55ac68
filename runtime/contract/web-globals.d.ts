// Globals that Node and workerd share, for the pure world only (tsconfig.shared.json): the part
// of each interface that behaves alike on both sides. The worker and node worlds bring their own.

declare global {
  interface Console {
    debug(...data: unknown[]): void;
    info(...data: unknown[]): void;
    log(...data: unknown[]): void;
    warn(...data: unknown[]): void;
    error(...data: unknown[]): void;
  }
  var console: Console;

  function structuredClone<T>(value: T, options?: { transfer?: unknown[] }): T;
  function queueMicrotask(callback: () => void): void;
  function atob(data: string): string;
  function btoa(data: string): string;

  class TextEncoder {
    encode(input?: string): Uint8Array<ArrayBuffer>;
    encodeInto(source: string, target: Uint8Array): { read: number; written: number };
  }
  class TextDecoder {
    constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
    decode(input?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
  }

  class Event {
    constructor(type: string);
    readonly type: string;
  }
  class EventTarget {
    addEventListener(
      type: string,
      listener: (event: Event) => void,
      options?: { once?: boolean; signal?: AbortSignal },
    ): void;
    removeEventListener(type: string, listener: (event: Event) => void): void;
    dispatchEvent(event: Event): boolean;
  }
  class AbortSignal extends EventTarget {
    static abort(reason?: unknown): AbortSignal;
    static any(signals: AbortSignal[]): AbortSignal;
    static timeout(milliseconds: number): AbortSignal;
    readonly aborted: boolean;
    readonly reason: unknown;
    throwIfAborted(): void;
  }
  class AbortController {
    readonly signal: AbortSignal;
    abort(reason?: unknown): void;
  }

  class URLSearchParams implements Iterable<[string, string]> {
    constructor(init?: string | Iterable<[string, string]> | Record<string, string>);
    readonly size: number;
    append(name: string, value: string): void;
    delete(name: string): void;
    get(name: string): string | null;
    getAll(name: string): string[];
    has(name: string): boolean;
    set(name: string, value: string): void;
    toString(): string;
    entries(): IterableIterator<[string, string]>;
    keys(): IterableIterator<string>;
    [Symbol.iterator](): IterableIterator<[string, string]>;
  }
  class URL {
    constructor(url: string | URL, base?: string | URL);
    static canParse(url: string, base?: string): boolean;
    hash: string;
    host: string;
    hostname: string;
    href: string;
    readonly origin: string;
    password: string;
    pathname: string;
    port: string;
    protocol: string;
    search: string;
    readonly searchParams: URLSearchParams;
    username: string;
    toString(): string;
  }

  interface ReadableStreamReadResult<T> {
    done: boolean;
    value: T | undefined;
  }
  interface ReadableStreamDefaultReader<T> {
    read(): Promise<{ done: false; value: T } | { done: true; value: undefined }>;
    cancel(reason?: unknown): Promise<void>;
    releaseLock(): void;
  }
  interface ReadableStreamDefaultController<T> {
    readonly desiredSize: number | null;
    enqueue(chunk: T): void;
    close(): void;
    error(reason?: unknown): void;
  }
  class ReadableStream<T = Uint8Array> {
    constructor(source?: {
      start?(controller: ReadableStreamDefaultController<T>): void | Promise<void>;
      pull?(controller: ReadableStreamDefaultController<T>): void | Promise<void>;
      cancel?(reason?: unknown): void | Promise<void>;
    });
    readonly locked: boolean;
    cancel(reason?: unknown): Promise<void>;
    getReader(): ReadableStreamDefaultReader<T>;
    [Symbol.asyncIterator](): AsyncIterableIterator<T>;
  }

  class FormData implements Iterable<[string, string | Blob]> {
    append(name: string, value: string | Blob, filename?: string): void;
    get(name: string): string | Blob | null;
    [Symbol.iterator](): IterableIterator<[string, string | Blob]>;
  }
  class Blob {
    constructor(parts?: (string | Blob | ArrayBuffer | ArrayBufferView)[], o?: { type?: string });
    readonly size: number;
    readonly type: string;
    arrayBuffer(): Promise<ArrayBuffer>;
    text(): Promise<string>;
  }

  type HeadersInit = Headers | [string, string][] | Record<string, string>;
  class Headers implements Iterable<[string, string]> {
    constructor(init?: HeadersInit);
    append(name: string, value: string): void;
    delete(name: string): void;
    get(name: string): string | null;
    has(name: string): boolean;
    set(name: string, value: string): void;
    entries(): IterableIterator<[string, string]>;
    keys(): IterableIterator<string>;
    [Symbol.iterator](): IterableIterator<[string, string]>;
  }
  type BodyInit =
    | string
    | ArrayBuffer
    | ArrayBufferView
    | Blob
    | FormData
    | URLSearchParams
    | ReadableStream;
  interface RequestInit {
    body?: BodyInit | null;
    headers?: HeadersInit;
    method?: string;
    redirect?: "error" | "follow" | "manual";
    signal?: AbortSignal | null;
  }
  abstract class WebBody {
    readonly body: ReadableStream | null;
    readonly bodyUsed: boolean;
    arrayBuffer(): Promise<ArrayBuffer>;
    blob(): Promise<Blob>;
    formData(): Promise<FormData>;
    json(): Promise<unknown>;
    text(): Promise<string>;
  }
  class Request extends WebBody {
    constructor(input: string | URL | Request, init?: RequestInit);
    readonly headers: Headers;
    readonly method: string;
    readonly signal: AbortSignal;
    readonly url: string;
    clone(): Request;
  }
  interface ResponseInit {
    headers?: HeadersInit;
    status?: number;
    statusText?: string;
  }
  class Response extends WebBody {
    constructor(body?: BodyInit | null, init?: ResponseInit);
    static json(data: unknown, init?: ResponseInit): Response;
    readonly headers: Headers;
    readonly ok: boolean;
    readonly status: number;
    readonly statusText: string;
    readonly url: string;
    clone(): Response;
  }
  function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

  interface CryptoKey {
    readonly extractable: boolean;
  }
  interface AesGcmParameters {
    name: "AES-GCM";
    iv: Uint8Array<ArrayBuffer>;
    additionalData: Uint8Array<ArrayBuffer>;
  }
  var crypto: {
    getRandomValues<T extends ArrayBufferView>(array: T): T;
    randomUUID(): string;
    readonly subtle: {
      digest(algorithm: string, data: ArrayBuffer | ArrayBufferView): Promise<ArrayBuffer>;
      importKey(
        format: "raw",
        key: Uint8Array<ArrayBuffer>,
        algorithm: { name: "AES-GCM" },
        extractable: boolean,
        usages: ("decrypt" | "encrypt")[],
      ): Promise<CryptoKey>;
      encrypt(
        algorithm: AesGcmParameters,
        key: CryptoKey,
        data: Uint8Array<ArrayBuffer>,
      ): Promise<ArrayBuffer>;
      decrypt(
        algorithm: AesGcmParameters,
        key: CryptoKey,
        data: Uint8Array<ArrayBuffer>,
      ): Promise<ArrayBuffer>;
    };
  };
}

export {};
