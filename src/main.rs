//! The `settled` program: parse, run.

fn main() {}
