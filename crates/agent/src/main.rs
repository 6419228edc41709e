//! `sslsweep shared`: the agent of a machine.
fn main() {}
