//! A registry that answers what a test says.
