//! Who is never acted on: found out about this host, and again when it changes.
