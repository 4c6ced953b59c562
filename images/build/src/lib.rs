//! What to build and why (pure), and doing it.
