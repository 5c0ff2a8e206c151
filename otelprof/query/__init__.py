"""Questions that a store answers: flame graphs, traces, functions, services, and why there is no answer."""
