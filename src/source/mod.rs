//! Source databases: one driver each, chosen by the URL's scheme, and the one parser of connection URLs.
