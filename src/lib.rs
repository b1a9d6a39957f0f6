//! trapline: decoys, a journal, and sinks.

