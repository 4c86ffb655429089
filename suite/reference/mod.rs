//! The embedded reference distribution: what the suite can run against without any cluster.

pub mod kube;
