//! `metrics-gateway`: see the library's head.

fn main() {}
