//! Requests made from templates in which no value can leave its place.
//!
//! ```
//! use serde_json::json;
//! use trapline_template::{Body, Names, Scope, Target};
//!
//! let names = Names::new(["source.ip", "risk", "user"]);
//! let body = Body::new(&json!({ "title": "knock of {{ source.ip }}", "severity": "{{ risk }}", "who": "{{ user }}" }), &names).unwrap();
//! let target = Target::parse("api/v1/alert/{{ source.ip }}?tag={{ user | default('none') }}", &names).unwrap();
//! let scope = Scope::from(&json!({ "source": { "ip": "2001:db8::1" }, "risk": 73 }));
//! assert_eq!(body.render(&scope).unwrap(), json!({ "title": "knock of 2001:db8::1", "severity": 73 }));
//! let place = target.render(&scope).unwrap();
//! assert_eq!(place.path, "api/v1/alert/2001%3Adb8%3A%3A1");
//! assert_eq!(place.query.as_deref(), Some("tag=none"));
//! ```
//!
//! In: templates of an operator or of a profile, and values of which peers chose some. Out: a JSON value ([`Body`]), a
//! form ([`Form`]), XML ([`Xml`]), a path and a query ([`Target`]), the text of a header or of a field ([`Line`]), a yes or no
//! ([`Condition`]). And the way back: one value out of an answer ([`Path`]).
//!
//! The language is minijinja's expressions between `{{` and `}}`, and nothing else of it: no blocks, no comments, no
//! functions. A choice is `{{ a if b else c }}`, a table of words `{{ {"low": 1, "high": 3}[level] }}`. [`FILTERS`] lists
//! the filters.
//!
//! - A text that is one expression and nothing else keeps the value's type: a number stays one, an object too.
//! - A value that is not there makes its place absent: an entry of an object, an element of a list, a parameter of a
//!   query, a field of a form, a header. `{{ user | default("nobody") }}` says otherwise. Only in a path and in XML
//!   there must be one.
//!
//! Invariants, tested on any text: 1. a value is one value in what comes out: it adds no key, no element, no parameter,
//! no segment, no header and no line; 2. read back by its format's own rules it is the text that went in; 3. a template
//! that was accepted has no syntax error and names only values that there can be; 4. rendering takes bounded steps and
//! gives bounded bytes ([`BYTES_MAX`]) and depth; 5. no message and no `Debug` holds a value or a template.
//!
//! It does not send, retry or read files, and a template never decides to which host something goes.

mod body;
mod engine;
mod extract;
mod filters;
mod form;
mod line;
mod names;
mod percent;
mod samples;
mod target;
mod value;
mod xml;

pub use body::Body;
pub use engine::{Condition, FILTERS};
pub use extract::Path;
pub use form::Form;
pub use line::Line;
pub use names::{Mistake, Names};
pub use samples::samples;
pub use target::{Target, Where};
pub use value::Scope;
pub use xml::Xml;

/// Longest thing that is rendered, bytes, as JSON or as it is sent.
pub const BYTES_MAX: usize = 4 << 20;
/// How deep a body may nest.
pub const DEPTH_MAX: usize = 32;

/// Why a template gave nothing for these values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// An expression failed, such as a sum of a text and a number.
    #[error("`{place}`: {why}")]
    Failed {
        /// Where in the template: a JSON Pointer, a parameter's name, `path`.
        place: String,
        /// What the engine says, without the value.
        why: String,
    },
    /// A list or an object where there is room for a text only.
    #[error("`{place}`: {found} has no place in a text; take a part of it, or `| json`")]
    NotText {
        /// Where in the template.
        place: String,
        /// What it is.
        found: &'static str,
    },
    /// Nothing is left of what must be there.
    #[error("`{place}`: the value is missing; `| default(…)` gives another one")]
    Missing {
        /// Where in the template.
        place: String,
    },
    /// A segment of a path that is empty, `.` or `..`.
    #[error("`{place}`: a value makes a segment of the path empty, `.` or `..`")]
    Segment {
        /// Where in the template.
        place: String,
    },
    /// More than [`BYTES_MAX`] bytes or [`DEPTH_MAX`] levels.
    #[error("`{place}`: more than {BYTES_MAX} bytes or {DEPTH_MAX} levels")]
    TooLarge {
        /// Where in the template.
        place: String,
    },
}
