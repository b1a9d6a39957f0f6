//! All documents of one moment, made of who is on the list.

use std::sync::Arc;

use trapline_schemas::Timestamp;
use trapline_sink::published::Document;

use crate::roll::{Entry, Roll};
use crate::stix::{self, Bundle};
use crate::text::{self, Family, Layout};

/// Who is on the list at a moment: cheap to make, so that nobody waits while it is written.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) version: u64,
    /// The gravest first.
    pub(crate) members: Vec<Arc<Entry>>,
    pub(crate) lifted: Vec<Arc<Entry>>,
}

/// The documents.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) documents: Vec<(&'static str, Document)>,
    /// The list without a family in its name, which also goes into the file.
    pub(crate) main: String,
    /// How many found no room, by form; those with none are not there.
    pub(crate) left_out: Vec<(&'static str, usize)>,
}

impl Moment {
    pub(crate) fn of(roll: &mut Roll, now: Timestamp) -> Self {
        Self {
            version: roll.version(),
            members: roll.ranked(),
            lifted: roll.lifted(now),
        }
    }

    /// Writes all documents. Takes some tens of milliseconds for 100,000 members.
    pub(crate) fn cast(self, layout: &Layout, identity: &stix::Identity) -> Cast {
        let mut cast = Cast {
            documents: Vec::new(),
            main: String::new(),
            left_out: Vec::new(),
        };
        for (form, family) in forms(layout.family) {
            let written = text::write(&self.members, family, layout);
            if written.left_out > 0 {
                cast.left_out.push((form, written.left_out));
            }
            if form == MAIN {
                cast.main.clone_from(&written.text);
            }
            cast.documents.push((form, Document::whole(text::KIND, written.text)));
        }
        let members = self.members.into_iter();
        let members = members.filter(|entry| layout.family.takes(entry.target.address()));
        let bundle = Bundle::new(members.take(layout.entries_max), self.lifted, identity);
        let digest = bundle.digest();
        let document = Document::in_parts(stix::KIND, &digest, Arc::new(bundle));
        cast.documents.push(("stix.json", document));
        cast
    }
}

const MAIN: &str = "txt";

/// What is served: of a list of one family, that family alone.
fn forms(family: Family) -> Vec<(&'static str, Family)> {
    let v4 = ("v4.txt", Family::V4);
    let v6 = ("v6.txt", Family::V6);
    match family {
        Family::Both => vec![(MAIN, Family::Both), v4, v6],
        Family::V4 => vec![(MAIN, Family::V4), v4],
        Family::V6 => vec![(MAIN, Family::V6), v6],
    }
}
