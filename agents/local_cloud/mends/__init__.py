"""Where moto differs from AWS in what Orca relies on: one module each, put in place by ``apply``."""
