//! The outside world: a small trait and its real implementation each.
