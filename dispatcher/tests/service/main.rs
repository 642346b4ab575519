//! The real program against a real control plane with its controllers, a real nats-server and a real Pushgateway. It has no
//! other rights than those that are shipped. There is no node: the test plays the kubelet, by the API that the kubelet uses, and
//! who maintains repositories, by its messages.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bed;
mod failures;
mod happy;
mod kills;
mod many;
