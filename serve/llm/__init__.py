"""Language models: backends that speak OpenAI's API, routes to them, and what their use costs."""
