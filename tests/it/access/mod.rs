//! Who may use a gateway, and what its callers' jobs may reach: the built binary, over a real socket. No service is needed.

mod http;
mod jobs;
mod leaks;
mod routes;
pub mod served;
mod streams;
mod told;
mod tokens;
