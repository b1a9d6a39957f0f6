//! A new vendor is one file and one recorded exchange: no Rust. The exchange stands in `tests/recorded/VENDOR.txt`, and a
//! profile is held against it call by call.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::path::Path;

use fake::{Office, Vendor, end, touch};

/// What one life of a case asks for: opened, told twice, raised, closed.
async fn exchange(vendor: Vendor) -> String {
    let office = Office::new(vendor).await;
    let events = [touch(1, 1, "contact"), touch(2, 1, "proof"), end(3, 1)];
    office.tell(&events).await;
    let lines: Vec<_> = office.server.asked();
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn each_vendors_calls_are_those_that_were_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let remake = std::env::var_os("TRAPLINE_REMAKE").is_some();
    for vendor in Vendor::ALL {
        let (path, made) = (folder.join(format!("{}.txt", vendor.word())), exchange(vendor).await);
        if remake {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(recorded, made, "{}: re-make with TRAPLINE_REMAKE=1", path.display());
    }
}
