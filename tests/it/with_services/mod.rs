//! Tests that need what `tests/run` starts; `tests/run --fast` leaves them out.

mod advice;
mod bad_services;
mod branches;
mod children;
mod container;
mod container_faults;
mod demo;
mod discovery;
mod end_to_end;
mod gateway;
mod hostile;
mod keyless;
mod kills;
mod overrides;
mod revalidate;
mod script_faults;
mod service;
mod shipped;
mod source_faults;
mod source_mysql;
mod source_postgres;
mod source_versions;
mod types;
mod validation;
