//! One PowerShell that answers request after request: it takes a second to start, and then milliseconds.
//!
//! In: a request, one line of words of our own and parsed addresses. Out: the lines of its answer. The script is a
//! constant; requests reach it as lines of standard input, which it takes apart and never runs.
//!
//! Invariants: an answer that is late, too long, or broken off costs the session, and the next request begins a new one, so
//! that no answer is taken for another's.

use std::process::Stdio;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use trapline_schemas::text::clean_within;
use trapline_sink::{Fault, FaultKind};

use crate::run::{OUT_BYTES_MAX, Programs, RunError};

/// The program.
pub(super) const POWERSHELL: &str = "powershell.exe";
/// What it runs.
pub(super) const SCRIPT: &str = include_str!("serve.ps1");
/// Its arguments before the script.
pub(super) const OPTIONS: [&str; 4] = ["-NoLogo", "-NoProfile", "-NonInteractive", "-Command"];

/// A PowerShell, started when it is first asked.
#[derive(Debug)]
pub(super) struct Session {
    programs: Programs,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Killed when it is dropped.
    _child: Child,
}

impl Session {
    /// Errors: there is no PowerShell.
    pub fn new(programs: Programs) -> Result<Self, Fault> {
        programs.find(POWERSHELL)?;
        Ok(Self {
            programs,
            running: Mutex::new(None),
        })
    }

    /// Asks, and gives the lines of the answer but for the last, which says whether it is good.
    ///
    /// Cancel: the session ends.
    pub async fn ask(&self, request: &str) -> Result<Vec<String>, Fault> {
        let mut place = self.running.lock().await;
        // Taken out: it is put back only if the answer is whole.
        let mut running = match place.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let limit = self.programs.limit();
        let answer = tokio::time::timeout(limit, running.ask(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(RunError::Late(POWERSHELL.to_owned(), limit)))?;
        *place = Some(running);
        judged(answer, request)
    }

    fn start(&self) -> Result<Running, RunError> {
        let broken = |e| RunError::Io(POWERSHELL.to_owned(), e);
        let mut command = self.programs.command(POWERSHELL)?;
        command.args(OPTIONS).arg(SCRIPT);
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(broken)?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = pipes else {
            return Err(broken(std::io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Running {
            stdin,
            stdout: BufReader::new(stdout),
            _child: child,
        })
    }
}

impl Running {
    async fn ask(&mut self, request: &str) -> Result<Vec<String>, RunError> {
        let broken = |e| RunError::Io(POWERSHELL.to_owned(), e);
        let line = format!("{request}\n");
        self.stdin.write_all(line.as_bytes()).await.map_err(broken)?;
        self.stdin.flush().await.map_err(broken)?;
        answer(&mut self.stdout).await
    }
}

/// Reads lines up to and with the one that says `ok` or `no`.
async fn answer(mut from: impl AsyncBufRead + Unpin) -> Result<Vec<String>, RunError> {
    let (mut lines, mut room) = (Vec::new(), OUT_BYTES_MAX);
    loop {
        let line = line(&mut from, &mut room).await?;
        let is_last = line == "ok" || line.starts_with("no ");
        lines.push(line);
        if is_last {
            return Ok(lines);
        }
    }
}

/// One line without its end. Errors: the stream ended, or there is no room for so much.
async fn line(from: &mut (impl AsyncBufRead + Unpin), room: &mut usize) -> Result<String, RunError> {
    let mut bytes = Vec::new();
    loop {
        let part = from
            .fill_buf()
            .await
            .map_err(|e| RunError::Io(POWERSHELL.to_owned(), e))?;
        if part.is_empty() {
            let ended = std::io::ErrorKind::UnexpectedEof.into();
            return Err(RunError::Io(POWERSHELL.to_owned(), ended));
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(part.len(), |at| at.saturating_add(1));
        *room = room
            .checked_sub(taken)
            .ok_or_else(|| RunError::Endless(POWERSHELL.to_owned()))?;
        bytes.extend(part.iter().take(taken));
        from.consume(taken);
        if end.is_some() {
            return Ok(String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned());
        }
    }
}

/// The lines before a last one that is good.
fn judged(mut lines: Vec<String>, request: &str) -> Result<Vec<String>, Fault> {
    let last = lines.pop().unwrap_or_default();
    let Some(reason) = last.strip_prefix("no ") else {
        return Ok(lines);
    };
    let word = request.split(' ').next().unwrap_or("");
    let reason = clean_within(reason.as_bytes(), 200);
    Err(match reason.to_ascii_lowercase().contains("denied") {
        true => Fault {
            kind: FaultKind::Auth,
            message: format!("needs an administrator: Windows refused `{word}`: {reason}"),
        },
        false => Fault {
            kind: FaultKind::Server,
            message: format!("Windows refused `{word}`: {reason}"),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Vec<String>, Fault> {
        let lines = answer(bytes).await?;
        judged(lines, "rules trapline")
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_verdict() {
        assert_eq!(
            read(b"rule a\r\nrule b\r\nok\r\nlater\n").await.unwrap(),
            ["rule a", "rule b"]
        );
        let fault = read(b"rule a\nno Access is denied.\n").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Auth);
        let fault = read(b"no what \x1b[2J\n").await.unwrap_err();
        assert!(fault.message.starts_with("Windows refused `rules`: what ") && !fault.message.contains('\x1b'));
    }

    #[tokio::test]
    async fn an_answer_that_is_broken_off_or_endless_is_a_fault() {
        assert!(read(b"rule a\nrule").await.is_err());
        let endless = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        assert!(matches!(answer(endless).await, Err(RunError::Endless(_))));
    }

    #[test]
    fn the_script_is_one_argument_and_runs_no_line() {
        assert!(
            !SCRIPT.contains('"'),
            "a quotation mark would have to be escaped on Windows' command line"
        );
        for word in [
            "Invoke-Expression",
            "iex",
            "ScriptBlock",
            "& $",
            "Start-Process",
            "ExpandString",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        // What Windows takes as a command line, UTF-16 units.
        assert!(SCRIPT.len() < 30_000);
    }

    proptest! {
        #[test]
        fn any_bytes_of_powershell_are_lines_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&bytes));
        }
    }
}
