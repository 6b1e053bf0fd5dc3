//! The API as its callers see it: a server on a free port, a real Postgres behind it, an HTTP client before it.

use lockstep_api as api;

mod document;
