"""Shell: the process that a user starts. Keeps Envoy and the agent running side by side.

Envoy is the launcher's child and not the agent's, so an agent that dies and comes back is not
noticed by traffic. This package imports the standard library only: the launcher is there all the
time and should cost nothing.
"""
