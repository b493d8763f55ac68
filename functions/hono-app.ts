/** An unmodified Hono application: routes, parameters, JSON in and out, middleware, errors. */
import { Hono } from "hono";

interface Book {
  readonly id: number;
  readonly title: string;
}

const books: readonly Book[] = [
  { id: 1, title: "The Mythical Man-Month" },
  { id: 2, title: "A Discipline of Programming" },
];

const app = new Hono();

app.use(async (context, next) => {
  await next();
  context.header("x-app", "books");
});
app.get("/", (context) => context.text("books\n"));
app.get("/books", (context) => context.json(books));
app.get("/books/:id{[0-9]+}", (context) => {
  const book = books.find(({ id }) => id === Number(context.req.param("id")));
  return book ? context.json(book) : context.json({ error: "no such book" }, 404);
});
app.post("/books", async (context) => {
  const { title } = await context.req.json<{ title?: unknown }>();
  if (typeof title !== "string") return context.json({ error: "title must be a string" }, 400);
  return context.json({ id: books.length + 1, title }, 201);
});

export default app;
