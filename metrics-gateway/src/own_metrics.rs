//! placeholder
use crate::family::Kind;
pub(crate) fn kind(_name: &str) -> Option<Kind> {
    None
}
pub(crate) fn help(_name: &str) -> Option<&'static str> {
    None
}
