//! Tokens: their files, and what a running instance makes of them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;

use super::bearers::{Pass, Tokens};
use super::reach::Lists;
use super::tokens::*;

fn folder() -> (tempfile::TempDir, Files, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let (files, tokens) = (Files::within(folder.path()), Tokens::new(folder.path()));
    (folder, files, tokens)
}

fn bearer(tokens: &Tokens, text: &str, now: i64) -> Option<String> {
    tokens.check(text, now).map(|(bearer, _)| bearer.name)
}

#[test]
fn a_token_is_seen_at_once_until_it_ends_or_is_revoked() {
    let (_folder, files, tokens) = folder();
    assert_eq!(bearer(&tokens, "trapline_x", 0), None);
    let soc = files.create("soc", 100, None).unwrap();
    let short = files.create("short", 100, Some(200)).unwrap();
    assert_eq!(bearer(&tokens, &soc, 150).as_deref(), Some("soc"));
    assert_eq!(bearer(&tokens, &short, 199).as_deref(), Some("short"));
    assert_eq!(bearer(&tokens, &short, 200), None);
    assert_eq!((tokens.count(199), tokens.count(200)), (2, 1));
    let (who, _) = tokens.check(&soc, 150).unwrap();
    assert!(tokens.is_good(&who, 150));
    files.revoke("soc", 160).unwrap();
    assert_eq!(bearer(&tokens, &soc, 150), None);
    assert!(!tokens.is_good(&who, 150));
    let again = files.create("soc", 300, None).unwrap();
    assert_ne!(again, soc);
    assert!(
        !tokens.is_good(&who, 300),
        "another token of the same name is another token"
    );
    assert!(matches!(files.revoke("nobody", 160), Err(TokenError::Unknown(_))));
    assert!(matches!(files.create("soc", 1, None), Err(TokenError::Taken(_))));
}

#[test]
fn only_hashes_are_kept_for_the_owner_alone() {
    let (folder, files, tokens) = folder();
    let text = files.create("soc", 1, None).unwrap();
    assert_eq!(text.len(), PREFIX.len() + 43);
    tokens.check(&text, 1_000).unwrap();
    tokens.write_uses();
    for name in ["web.tokens", "web.used"] {
        let path = folder.path().join(name);
        let kept = fs::read_to_string(&path).unwrap();
        assert!(
            !kept.contains(&text) && !kept.contains(text.trim_start_matches(PREFIX)),
            "{kept}"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left");
    assert!(!format!("{tokens:?}").contains(&text));
}

#[test]
fn the_two_files_may_be_written_at_once_also_by_processes_of_one_id_as_containers_have() {
    let (_folder, files, _) = folder();
    files.create("soc", 1, None).unwrap();
    let other = files.clone();
    let uses = std::thread::spawn(move || {
        for _ in 0..50 {
            other.replace(&other.used(), b"{}").unwrap();
        }
    });
    for _ in 0..50 {
        let stored = files.stored().unwrap();
        files.store(stored).unwrap();
    }
    uses.join().unwrap();
    assert_eq!(files.list().unwrap().len(), 1);
}

#[test]
fn the_last_use_is_written_to_the_minute_and_outlives_the_instance() {
    let (folder, files, tokens) = folder();
    let text = files.create("soc", 1, None).unwrap();
    let use_at = |tokens: &Tokens, at| {
        let (_, is_news) = tokens.check(&text, at).unwrap();
        if is_news {
            tokens.write_uses();
        }
        is_news
    };
    assert_eq!([1_000, 1_030, 1_060].map(|at| use_at(&tokens, at)), [true, false, true]);
    let id = files.list().unwrap()[0].id().to_owned();
    assert_eq!(files.last_uses().get(&id), Some(&1_060));
    let next = Tokens::new(folder.path());
    assert!(!use_at(&next, 1_070));
    files.revoke("soc", 160).unwrap();
    next.write_uses();
    assert!(files.last_uses().is_empty(), "what is gone has no last use");
}

#[test]
fn a_file_that_others_may_read_lets_nobody_in_and_says_so() {
    let (folder, files, tokens) = folder();
    let text = files.create("soc", 1, None).unwrap();
    let path = folder.path().join("web.tokens");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(bearer(&tokens, &text, 2), None);
    assert!(tokens.trouble().unwrap().contains("mode 0644"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bearer(&tokens, &text, 2).as_deref(), Some("soc"));
    assert_eq!(tokens.trouble(), None);
}

#[test]
fn what_root_makes_is_the_folders_owners() {
    let (folder, files, _) = folder();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let nobody = Some(rustix::fs::Uid::from_raw(65_534));
    rustix::fs::chown(folder.path(), nobody, None).unwrap();
    files.create("soc", 1, None).unwrap();
    assert_eq!(fs::metadata(folder.path().join("web.tokens")).unwrap().uid(), 65_534);
}

fn lists(names: &[&str]) -> Option<Lists> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    Some(Lists::parse(&names).unwrap())
}

fn pass(tokens: &Tokens, text: &str, list: &str, now: i64) -> String {
    match tokens.check_list(text, list, now) {
        Pass::Reads(bearer, _) => format!("reads as {}", bearer.name),
        Pass::Elsewhere(name) => format!("elsewhere as {name}"),
        Pass::Old(bearer) => format!("old {}", bearer.name),
        Pass::None => "none".to_owned(),
    }
}

#[test]
fn a_token_of_lists_reads_those_and_nothing_else_and_one_of_the_api_no_list() {
    let (_folder, files, tokens) = folder();
    let api = files.create("soc", 100, None).unwrap();
    let edge = files.create_for("fw", 100, None, lists(&["edge"])).unwrap();
    let all = files.create_for("siem", 100, None, lists(&["all"])).unwrap();
    assert_eq!(pass(&tokens, &edge, "edge", 100), "reads as fw");
    assert_eq!(pass(&tokens, &edge, "other", 100), "elsewhere as fw");
    assert_eq!(pass(&tokens, &all, "other", 100), "reads as siem");
    assert_eq!(pass(&tokens, &api, "edge", 100), "elsewhere as soc");
    assert_eq!(pass(&tokens, "trapline_x", "edge", 100), "none");
    assert_eq!(
        (bearer(&tokens, &edge, 100), tokens.reads_lists(&edge, 100)),
        (None, true)
    );
    assert_eq!(
        (bearer(&tokens, &api, 100).as_deref(), tokens.reads_lists(&api, 100)),
        (Some("soc"), false)
    );
}

#[test]
fn old_and_new_tokens_are_good_together_and_a_revoked_one_is_known_for_a_time() {
    let (_folder, files, tokens) = folder();
    let old = files.create_for("old", 100, None, lists(&["edge"])).unwrap();
    let new = files.create_for("new", 100, Some(500), lists(&["edge"])).unwrap();
    assert_eq!(pass(&tokens, &old, "edge", 150), "reads as old");
    assert_eq!(pass(&tokens, &new, "edge", 150), "reads as new");
    files.revoke("old", 200).unwrap();
    assert_eq!(pass(&tokens, &old, "edge", 200), "old old");
    assert_eq!(pass(&tokens, &new, "edge", 200), "reads as new");
    assert_eq!(pass(&tokens, &new, "edge", 500), "old new", "it is over");
    assert_eq!(files.list().unwrap().len(), 1);
    let again = files.create_for("old", 300, None, lists(&["edge"])).unwrap();
    assert_eq!(
        pass(&tokens, &again, "edge", 300),
        "reads as old",
        "the name is free again"
    );
    files.revoke("old", 200 + OLD_SECS).unwrap();
    assert_eq!(pass(&tokens, &old, "edge", 200 + OLD_SECS), "none");
    assert_eq!(pass(&tokens, &again, "edge", 200 + OLD_SECS), "old old");
}

#[test]
fn an_api_token_that_was_revoked_is_forgotten_and_old_ones_are_bounded() {
    let (_folder, files, tokens) = folder();
    let api = files.create("soc", 100, None).unwrap();
    files.revoke("soc", 100).unwrap();
    assert_eq!(pass(&tokens, &api, "edge", 100), "none");
    let mut texts = Vec::new();
    for number in 0..70 {
        texts.push(files.create_for("fw", number, None, lists(&["edge"])).unwrap());
        files.revoke("fw", number).unwrap();
    }
    let known = texts.iter().filter(|text| pass(&tokens, text, "edge", 100) == "old fw");
    assert_eq!(known.count(), 64);
    assert_eq!(pass(&tokens, &texts[69], "edge", 100), "old fw");
}

/// An older build would take a token of lists for one of the API.
#[test]
fn with_tokens_of_lists_the_file_is_of_a_version_that_older_builds_refuse() {
    let (folder, files, tokens) = folder();
    let version = || {
        let kept = fs::read(folder.path().join("web.tokens")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&kept).unwrap()["v"].clone()
    };
    let api = files.create("soc", 1, None).unwrap();
    assert_eq!(version(), 1);
    files.create_for("fw", 1, None, lists(&["edge"])).unwrap();
    assert_eq!(version(), 2);
    files.revoke("fw", 2).unwrap();
    assert_eq!(version(), 2, "the old one is still known");
    assert_eq!(bearer(&tokens, &api, 3).as_deref(), Some("soc"));
    let old = serde_json::json!({"v": 1, "tokens": [{"name": "soc", "hash": hash("trapline_y"), "created": 1}]});
    fs::write(folder.path().join("web.tokens"), old.to_string()).unwrap();
    assert_eq!(
        bearer(&tokens, "trapline_y", 3).as_deref(),
        Some("soc"),
        "what an older build wrote is read"
    );
}

#[test]
fn names_are_plain_and_tokens_are_counted() {
    let (_folder, files, _) = folder();
    for bad in ["", "a b", "a/b", "é", &"x".repeat(65)] {
        assert!(matches!(files.create(bad, 1, None), Err(TokenError::Name(_))), "{bad}");
    }
    let tokens = (0..TOKENS_MAX).map(|number| Token {
        name: number.to_string(),
        hash: hash(&number.to_string()),
        created: 1,
        expires: None,
        lists: None,
    });
    let mut stored = files.stored().unwrap();
    stored.tokens = tokens.collect();
    files.store(stored).unwrap();
    assert!(matches!(files.create("more", 1, None), Err(TokenError::Full)));
}

proptest! {
    #[test]
    fn any_bytes_in_the_file_are_tokens_or_told_as_none(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        Just(br#"{"v":2,"tokens":[]}"#.to_vec()),
        Just(br#"{"v":1,"tokens":[{"name":"a","hash":"","created":1}]}"#.to_vec()),
    ]) {
        let (_folder, files, tokens) = folder();
        files.replace(&files.tokens(), &bytes).unwrap();
        files.replace(&files.used(), &bytes).unwrap();
        prop_assert_eq!(tokens.trouble().is_none(), files.list().is_ok());
        prop_assert_eq!(bearer(&tokens, "", 0), None);
        files.last_uses();
    }
}
