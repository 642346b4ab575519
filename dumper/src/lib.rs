//! Turns the objects of a Kubernetes cluster into YAML files.

pub mod json;
pub mod layout;
pub mod object;
pub mod sanitize;
pub mod yaml;
