/** The smallest HTTP function: an ordinary Workers module. */
export default {
  fetch(): Response {
    return new Response("hello\n");
  },
} satisfies ExportedHandler;
