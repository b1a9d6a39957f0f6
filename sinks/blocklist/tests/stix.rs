//! The bundle as others read it: the OASIS validator (`stix2-validator`) and the `stix2` library, which is what threat
//! intelligence platforms parse it with. Skipped where Python has neither; the crate's own tests check the form as well.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};

use common::{List, member, seconds};
use trapline_schemas::Timestamp;
use trapline_sink::set::Member;

/// Prints what the validator says, every SHOULD as a MUST but that ids be of version 4; then what the library makes of it.
/// First that a bundle which is wrong is found to be.
const READER: &str = r"
import sys, stix2, stix2validator
text = sys.stdin.read()
def found(text):
    options = stix2validator.ValidationOptions(version='2.1', strict=True, enforce_refs=True, disabled='uuid-check')
    return stix2validator.validate_string(text, options)
print('wrong', found(text.replace('valid_until', 'valid_untill').replace('malicious-activity', 'fun')).is_valid)
result = found(text)
print('valid', result.is_valid)
for error in result.errors: print('error', error)
bundle = stix2.parse(text, version='2.1')
print('objects', len(bundle.objects))
for one in bundle.objects[1:]:
    print(one.pattern, bool(one.get('revoked')), one.valid_until > one.valid_from)
";

/// A Python that has both, if there is one: `TRAPLINE_STIX_PYTHON`, else the system's.
fn python() -> Option<String> {
    let python = std::env::var("TRAPLINE_STIX_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let looked = Command::new(&python)
        .args(["-c", "import stix2, stix2validator"])
        .stderr(Stdio::null())
        .status();
    looked.is_ok_and(|status| status.success()).then_some(python)
}

#[tokio::test]
async fn the_validator_of_oasis_and_the_library_of_the_platforms_take_the_bundle() {
    let Some(python) = python() else {
        println!("SKIPPED: no Python with stix2 and stix2-validator (pip install stix2 stix2-validator)");
        return;
    };
    let list = List::new("");
    let now = Timestamp::now();
    let hostile = Member {
        reason: "x'] OR [\"\\<b>".into(),
        ..member("203.0.113.9", 40)
    };
    let short = Member {
        until: seconds(now, 1),
        ..member("203.0.113.10", 30)
    };
    let lifted = member("203.0.113.8", 99);
    let all = [
        member("203.0.113.7", 90),
        member("2001:db8:1::/48", 80),
        member("203.0.114.0/24", 70),
        hostile,
        short,
    ];
    list.sink.apply(&[trapline_sink::set::Change::Put(lifted)]).await;
    list.reconcile(&all).await;
    let said = read(&python, &list.text("stix.json"));
    assert!(said.starts_with("wrong False\nvalid True\n"), "{said}");
    assert!(!said.contains("error "), "{said}");
    assert!(said.contains("objects 7"), "{said}");
    assert!(said.contains("[ipv4-addr:value = '203.0.113.7'] False True"), "{said}");
    assert!(
        said.contains("[ipv6-addr:value ISSUBSET '2001:db8:1::/48'] False True"),
        "{said}"
    );
    assert!(said.contains("[ipv4-addr:value = '203.0.113.8'] True True"), "{said}");
}

fn read(python: &str, bundle: &str) -> String {
    let mut reader = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(bundle.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
