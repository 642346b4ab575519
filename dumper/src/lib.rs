//! Reads a cluster.
