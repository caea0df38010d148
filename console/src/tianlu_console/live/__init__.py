"""Live pages: one event stream per page that says what changed, never what it is now."""
