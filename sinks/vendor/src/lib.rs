//! Vendors' APIs as data: which requests an act takes, how one logs in, and what the answers mean.
//!
//! A profile is one file, `config/vendors/NAME.toml`; one of that name beside the user's configuration wins.
//!
//! ```toml
//! doc = "Example desk: a ticket per incident"
//! endpoint = "https://desk.example"            # shown where a base URL is missing
//! auth = ["bearer", "basic"]                   # of bearer, basic, header, oauth2
//! says = ["{{ answer.message }}"]              # where an answer holds the vendor's own words
//!
//! [fields]                                     # what the user gives in `fields`
//! needs = ["queue"]                            # must be there
//! own = ["queue"]                              # placed by templates; all others are laid over the body at `merge`
//! defaults = { kind = "alarm" }
//!
//! [words]                                      # tables for templates: `{{ words.severity[level] }}`
//! severity = { contact = 1, intent = 2, proof = 3 }
//!
//! [[answers]]                                  # what answers mean besides their status, for all calls
//! status = [400]
//! says = "already exists"                      # a part of the vendor's words, in any case
//! means = "exists"                             # ok, done, exists, gone, refused, busy, server, auth, config
//!
//! [[steps.open]]                               # the calls of a step, one after the other
//! method = "POST"
//! path = "api/tickets?notify={{ level != 'contact' }}"
//! when = "not remote.id"                       # else the call is left out
//! body = { title = "{{ title }}", severity = "{{ words.severity[level] }}" }
//! merge = ""                                   # where in the body the user's other fields go: a JSON Pointer
//! ok = [201]                                   # default: any 2xx
//! must = "answer.ticket"                       # else the answer is not the vendor's
//! take = { id = "{{ answer.ticket.id }}" }     # becomes `remote.id`, if it is there
//! ```
//!
//! `pick = { from = "{{ answer.list }}", where = "item.kind == 'done'" }` sets `picked` to the first element that fits;
//! `[each.NAME]` with `of` and `item` makes a list `NAME` for templates out of another.
//!
//! In: a profile, values, what is remembered of the remote object ([`Remote`]). Out: what is known of it after the step,
//! or why the step ended ([`Failed`]). The templates are [`trapline_template`]'s.
//!
//! Invariants: 1. a profile that was accepted has every step that its sink needs, and its templates name only what
//! there is; 2. a vendor's answer is data: of it only what `take` names is kept, one short line each, and its words are
//! cleaned, cut and free of the login's secrets; 3. a credential goes to the endpoint or the token's URL alone.
//!
//! It does not decide which step is due, retry, or remember.

mod auth;
mod call;
mod judge;
mod profile;
mod read;
mod remote;
mod run;
mod shelf;

pub use auth::{AUTH_HINT, Login, LoginSettings, Place, keys};
pub use judge::Failed;
pub use profile::{AuthKind, Profile, Wants};
pub use read::ProfileError;
pub use remote::Remote;
pub use run::Vendor;
pub use shelf::{load, vendors};
