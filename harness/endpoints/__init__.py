"""Models behind a server with OpenAI's HTTP interface: judges, and models to be evaluated."""
