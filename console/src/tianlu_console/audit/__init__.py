"""Who did what, why and when."""
