//! The integration tests: one binary. What is in `with_services` needs what `tests/run` starts; the rest needs nothing.

mod services;
