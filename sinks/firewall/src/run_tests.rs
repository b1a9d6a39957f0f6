//! Programs that are missing, fail, hang, and say too much.

use super::*;

fn system() -> Programs {
    Programs::system(Duration::from_secs(20))
}

fn script(lines: &str) -> (tempfile::TempDir, Programs) {
    let folder = tempfile::tempdir().unwrap();
    crate::fake::program(&folder.path().join("it"), &format!("#!/bin/bash\n{lines}\n"));
    let programs = Programs::within(vec![folder.path().into()], Duration::from_secs(20));
    (folder, programs)
}

#[tokio::test]
async fn a_program_has_an_empty_environment_and_no_input() {
    let answer = system().run::<&str>("env", &[]).await.unwrap();
    let mut lines: Vec<_> = answer.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["LC_ALL=C", &format!("PATH={}", FOLDERS.join(":"))]);
    assert_eq!(system().run::<&str>("cat", &[]).await.unwrap().out, "");
}

#[tokio::test]
async fn what_is_fed_is_read_and_arguments_are_no_shell_words() {
    let fed = system()
        .run_with::<&str>("cat", &[], Some("a\nb".into()))
        .await
        .unwrap();
    assert_eq!((fed.code, fed.out.as_str()), (Some(0), "a\nb"));
    let said = system().run("echo", &["$(id)", ";", "`id`"]).await.unwrap();
    assert_eq!(said.out, "$(id) ; `id`\n");
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_with_the_folders() {
    let fault = Fault::from(system().run::<&str>("no-such-program", &[]).await.unwrap_err());
    assert_eq!(fault.kind, FaultKind::Config);
    assert!(
        fault.message.starts_with("`no-such-program` is not installed"),
        "{}",
        fault.message
    );
    assert!(fault.message.contains("/usr/sbin"), "{}", fault.message);
}

#[tokio::test]
async fn another_exit_code_is_told_with_the_last_words_made_clean() {
    let (_folder, programs) = script("echo first >&2; printf 'bad \\033[2J end\\n' >&2; exit 3");
    let answer = programs.run::<&str>("it", &[]).await.unwrap();
    let fault = answer.fault("it now");
    assert_eq!(fault.kind, FaultKind::Server);
    assert!(
        fault.message.starts_with("`it now` ended with code 3: bad "),
        "{}",
        fault.message
    );
    assert!(!fault.message.contains('\x1b'), "{}", fault.message);
}

#[tokio::test]
async fn a_missing_right_is_told_as_one() {
    let (_folder, programs) = script("echo 'Kernel error received: Operation not permitted' >&2; exit 1");
    let fault = programs.run::<&str>("it", &[]).await.unwrap().fault("it");
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(fault.message.starts_with("needs CAP_NET_ADMIN"), "{}", fault.message);
}

#[tokio::test]
async fn a_program_without_an_end_of_its_words_is_killed() {
    let (folder, programs) = script("echo $$ > \"${0%/*}/pid\"; exec /bin/cat /dev/zero");
    let error = programs.run::<&str>("it", &[]).await.unwrap_err();
    assert!(matches!(error, RunError::Endless(_)), "{error}");
    gone(&folder);
}

#[tokio::test]
async fn endless_complaints_are_read_and_forgotten() {
    let (_folder, programs) = script("/usr/bin/head -c 5000000 /dev/zero >&2");
    let answer = programs.run::<&str>("it", &[]).await.unwrap();
    assert!(answer.is_good());
    assert_eq!(answer.err.len(), ERR_BYTES_MAX);
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_when_its_time_is_up() {
    let (folder, programs) = script("echo $$ > \"${0%/*}/pid\"; exec /bin/sleep 600");
    let programs = Programs::within(programs.folders, Duration::from_millis(300));
    let error = programs.run::<&str>("it", &[]).await.unwrap_err();
    assert!(matches!(error, RunError::Late(..)), "{error}");
    gone(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_with_the_task_that_asked() {
    let (folder, programs) = script("echo $$ > \"${0%/*}/pid\"; exec /bin/sleep 600");
    let task = tokio::spawn(async move { programs.run::<&str>("it", &[]).await });
    let is_there = || std::fs::read_to_string(folder.path().join("pid")).is_ok_and(|pid| pid.ends_with('\n'));
    assert!(patiently(is_there));
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    gone(&folder);
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_is_no_fault() {
    let answer = system()
        .run_with::<&str>("true", &[], Some("x".repeat(1 << 20)))
        .await
        .unwrap();
    assert!(answer.is_good());
}

/// The program whose id is in `pid` is no more, or a zombie that is about to be reaped.
fn gone(folder: &tempfile::TempDir) {
    let Ok(pid) = std::fs::read_to_string(folder.path().join("pid")) else {
        return;
    };
    let stat = format!("/proc/{}/stat", pid.trim());
    let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    assert!(patiently(is_gone), "{stat}");
}

fn patiently(is_so: impl Fn() -> bool) -> bool {
    (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        is_so()
    })
}
