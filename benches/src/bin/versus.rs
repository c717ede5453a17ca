//! Runs each workload on Threeply, its peers and the limits of the machine.

fn main() {}
