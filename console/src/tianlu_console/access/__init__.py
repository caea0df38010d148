"""Who may use the console: first visit, sign-in, sessions."""
