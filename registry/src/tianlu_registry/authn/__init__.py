"""Finding out who calls, and letting nobody past who may not: the shell around `auth`."""
