"""Shell: the Ready loop: persist, send, apply, answer."""
