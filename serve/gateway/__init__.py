"""One ingress: thin transports over one data plane, with one set of errors, limits and request ids."""
