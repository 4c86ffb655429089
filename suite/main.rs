//! The `kfconform` program.
fn main() {}
