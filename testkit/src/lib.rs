//! Real programs for tests.
