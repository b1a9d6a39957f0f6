//! The house holds what its pages say: folders against tables, pages against folders.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use trapline::decoy::services::SERVICES;
use trapline::delivery::registry::{SETS, SINKS};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

/// Files that git tracks or would track, so that build output and editors' files do not count.
fn tracked() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    files
        .lines()
        .map(PathBuf::from)
        .filter(|file| root().join(file).is_file())
        .collect()
}

#[test]
fn the_visible_top_level_is_as_announced() {
    let visible: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|file| file.iter().next()?.to_str().map(str::to_owned))
        .filter(|name| !name.starts_with('.'))
        .collect();
    let announced = set([
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "config",
        "schemas",
        "sinks",
        "src",
        "tests",
    ]);
    assert_eq!(visible, announced);
}

#[test]
fn every_sink_folder_is_a_crate_with_a_registry_row() {
    let mut folders = names("sinks");
    for below in ["api", "nftables", "notice", "template", "vendor"] {
        folders.remove(below);
    }
    let sinks = SINKS.iter().map(|sink| sink.name);
    let rows: BTreeSet<String> = sinks
        .chain(SETS.iter().map(|set| set.name))
        .map(str::to_owned)
        .collect();
    assert_eq!(folders, rows);
    let manifest = read("Cargo.toml");
    for sink in &rows {
        let package = format!("trapline-sink-{}", sink.replace('_', "-"));
        assert!(
            read(&format!("sinks/{sink}/Cargo.toml")).contains(&format!("name = \"{package}\"")),
            "{sink}"
        );
        assert!(
            manifest.contains(&format!("{package} = {{ path = \"sinks/{sink}\" }}")),
            "{sink}"
        );
    }
}

#[test]
fn every_service_of_the_table_has_its_room() {
    let rooms = names("src/decoy/services");
    for service in SERVICES {
        let name = service.name;
        assert!(
            rooms.contains(&format!("{name}.rs")) || rooms.contains(name),
            "no room for `{name}`"
        );
    }
}

/// Readers of what others wrote, beside the services: a collector, a caller, a person's file, an older body.
const READERS: &[&str] = &[
    "schemas/tests/property.rs",
    "sinks/api/src/http/tests.rs",
    "sinks/api/src/oauth_tests.rs",
    "sinks/api/src/published/shelf.rs",
    "sinks/api/src/tls/refusal.rs",
    "sinks/blocklist/src/roll.rs",
    "sinks/case/src/markup.rs",
    "sinks/elasticsearch/src/answer_tests.rs",
    "sinks/email/src/reply.rs",
    "sinks/firewall/src/entry.rs",
    "sinks/firewall/src/fail2ban/bans.rs",
    "sinks/firewall/src/firewalld.rs",
    "sinks/firewall/src/ipset/saved.rs",
    "sinks/firewall/src/windows/mod.rs",
    "sinks/firewall/src/windows/session.rs",
    "sinks/firewall/src/windows/shards.rs",
    "sinks/kafka/src/fault.rs",
    "sinks/nftables/src/intervals.rs",
    "sinks/nftables/src/news.rs",
    "sinks/nftables/src/wire/read.rs",
    "sinks/notice/tests/property.rs",
    "sinks/otlp/src/answer/tests.rs",
    "sinks/otlp/src/grpc.rs",
    "sinks/otlp/src/headers.rs",
    "sinks/pagerduty/src/answer.rs",
    "sinks/pagerduty/tests/protocol.rs",
    "sinks/rpz/src/answer.rs",
    "sinks/rpz/src/mark.rs",
    "sinks/rpz/src/probe.rs",
    "sinks/rpz/src/records.rs",
    "sinks/rpz/src/trigger.rs",
    "sinks/rpz/src/zone.rs",
    "sinks/rpz/src/zonefile.rs",
    "sinks/sentinel/src/answer.rs",
    "sinks/sentinel/src/record.rs",
    "sinks/slack/src/answer.rs",
    "sinks/slack/src/history.rs",
    "sinks/slack/tests/hostile.rs",
    "sinks/splunk_hec/src/answer.rs",
    "sinks/teams/src/answer.rs",
    "sinks/teams/src/card.rs",
    "sinks/template/src/body.rs",
    "sinks/template/src/extract.rs",
    "sinks/template/src/target.rs",
    "sinks/template/src/xml.rs",
    "sinks/vendor/tests/answers.rs",
    "sinks/webhook/src/answer.rs",
    "src/config/embedded.rs",
    "src/control/client.rs",
    "src/control/server.rs",
    "src/decoy/mask.rs",
    "src/decoy/tests/hostile.rs",
    "src/graph/condition/tests.rs",
    "src/graph/scan/tests.rs",
    "src/graph/shape/enrich_tests.rs",
    "src/graph/shape/inventory.rs",
    "src/graph/shape/scrub.rs",
    "src/graph/shape/tests.rs",
    "src/graph/window/model_tests.rs",
    "src/record/leases.rs",
    "src/record/neighbours.rs",
    "src/web/conditional.rs",
    "src/web/credentials.rs",
    "src/web/hosts.rs",
    "src/web/params.rs",
    "src/web/tokens_tests.rs",
];

#[test]
fn every_reader_of_foreign_bytes_has_a_property_that_the_long_fuzzing_finds_by_name() {
    let is_fuzzed = |file: &Path| {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        text.split_once("proptest! {")
            .is_some_and(|(_, properties)| properties.contains("any_bytes"))
    };
    for service in SERVICES {
        let room = format!("src/decoy/services/{}", service.name);
        let found = tracked()
            .iter()
            .any(|file| file.to_str().unwrap().starts_with(&room) && is_fuzzed(file));
        assert!(found, "{room}.rs");
    }
    for reader in READERS {
        assert!(is_fuzzed(Path::new(reader)), "{reader}");
    }
    assert!(read("tests/run").contains("-- any_bytes"));
}

#[test]
fn the_readme_lists_every_sink_and_the_test_command() {
    let readme = read("README.md");
    for name in SINKS
        .iter()
        .map(|sink| sink.name)
        .chain(SETS.iter().map(|set| set.name))
    {
        assert!(
            readme.contains(&format!("`{name}`")),
            "README.md does not name `{name}`"
        );
    }
    assert!(readme.contains("tests/run") && readme.contains("cargo run --release"));
}

#[test]
fn paths_that_the_architecture_note_names_are_there() {
    let note = read("src/README.md");
    let paths: Vec<&str> = note
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('/'))
        .collect();
    assert!(paths.len() > 10, "the note names only {paths:?}");
    for path in paths.into_iter().filter(|path| !path.contains(['<', '*', ' ', ':'])) {
        assert!(
            root().join(path).exists(),
            "src/README.md names `{path}`, which is not there"
        );
    }
}

#[test]
fn the_architecture_note_names_every_room() {
    let note = read("src/README.md");
    for name in names("src").iter().filter(|name| *name != "README.md") {
        let room = name.trim_end_matches(".rs");
        assert!(
            note.contains(&format!("`src/{name}`")) || note.contains(&format!("`src/{room}/")),
            "no word on `src/{name}`"
        );
    }
}

#[test]
fn nothing_is_left_unfinished_and_unsafe_stays_in_its_room() {
    for file in tracked()
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
    {
        let (name, text) = (file.display(), std::fs::read_to_string(root().join(file)).unwrap());
        for word in [
            concat!("todo", "!("),
            concat!("unimplemented", "!("),
            concat!("FIX", "ME"),
            concat!("TO", "DO"),
        ] {
            assert!(!text.contains(word), "{name} holds `{word}`");
        }
        let is_unsafe = text.contains(concat!("unsafe", " {")) || text.contains(concat!("unsafe", " fn"));
        assert!(
            !is_unsafe || file.starts_with("src/sys"),
            "{name} is unsafe outside `src/sys`"
        );
    }
}

#[test]
fn every_link_in_the_pages_leads_to_a_file() {
    for page in tracked()
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
    {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') || link.contains(' ') {
                continue;
            }
            let target = link.split('#').next().unwrap_or(link);
            let folder = root().join(page).parent().unwrap().to_owned();
            assert!(folder.join(target).exists(), "{} links to `{link}`", page.display());
        }
    }
}

/// The README asks for gcc, make and perl. librdkafka brings a wrapper in C++, which is built and not used.
#[test]
fn without_a_cxx_compiler_what_would_be_compiled_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    for tool in ["cc", "as", "sh"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), folder.path().join(tool)).unwrap();
    }
    let source = folder.path().join("wrapper.cpp");
    std::fs::write(&source, "template <class T> class Wrapper {};").unwrap();
    let object = folder.path().join("wrapper.o");
    let done = std::process::Command::new(root().join(".cargo/c++"))
        .env("PATH", folder.path())
        .args(["-std=c++11", "-O2", "-c"])
        .args([&source, Path::new("-o"), &object])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(object.exists());
}
