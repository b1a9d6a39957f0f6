//! Tokens: their files, and what a running instance makes of them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;

use super::bearers::Tokens;
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
    files.revoke("soc").unwrap();
    assert_eq!(bearer(&tokens, &soc, 150), None);
    assert!(!tokens.is_good(&who, 150));
    let again = files.create("soc", 300, None).unwrap();
    assert_ne!(again, soc);
    assert!(
        !tokens.is_good(&who, 300),
        "another token of the same name is another token"
    );
    assert!(matches!(files.revoke("nobody"), Err(TokenError::Unknown(_))));
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
        let tokens = files.list().unwrap();
        files.store(tokens).unwrap();
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
    files.revoke("soc").unwrap();
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
    });
    files.store(tokens.collect()).unwrap();
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
