/** Answers with the request's own method, path and body; the body streams through. */
export default {
  fetch(request: Request): Response {
    const url = new URL(request.url);
    const headers = new Headers({
      "content-type": request.headers.get("content-type") ?? "application/octet-stream",
      "x-echo-method": request.method,
      "x-echo-path": url.pathname + url.search,
    });
    return new Response(request.body, { headers });
  },
} satisfies ExportedHandler;
