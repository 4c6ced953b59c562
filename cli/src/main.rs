//! The overboot program.

fn main() {}
