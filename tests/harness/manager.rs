//! A service manager as sd_notify(3) knows it: hears what an instance says, and keeps the sockets that it leaves.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::PATIENCE;

/// The manager's end.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    /// Everything heard, in order, one assignment a line.
    pub heard: Vec<String>,
    /// Sockets that were left, by name.
    pub kept: Vec<(String, OwnedFd)>,
}

impl Manager {
    /// A manager that listens in a folder.
    pub fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self {
            socket,
            path,
            heard: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Its address, for `NOTIFY_SOCKET`.
    pub fn address(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Takes what has come.
    pub fn hear(&mut self) {
        while let Some((text, sockets)) = self.receive() {
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME="));
            if let Some(name) = name {
                let name = name.to_owned();
                if lines.iter().any(|line| line == "FDSTOREREMOVE=1") {
                    self.kept.retain(|(kept, _)| *kept != name);
                }
                self.kept
                    .extend(sockets.into_iter().map(|socket| (name.clone(), socket)));
            }
            self.heard.extend(lines);
        }
    }

    /// Waits until a line is heard after the first `known` ones; gives how many there are then.
    pub fn wait_for(&mut self, known: usize, begin: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.hear();
            let found = self.heard.iter().skip(known).position(|line| line.starts_with(begin));
            if let Some(at) = found {
                return known + at + 1;
            }
            assert!(Instant::now() < deadline, "`{begin}` was not heard: {:?}", self.heard);
        }
    }

    fn receive(&mut self) -> Option<(String, Vec<OwnedFd>)> {
        let (mut bytes, mut space) = ([0; 4096], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let buffer = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, buffer, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
        let sockets = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets.collect::<Vec<_>>()),
            _ => None,
        });
        let sockets = sockets.flatten().collect();
        let text = String::from_utf8_lossy(bytes.get(..received.bytes).unwrap()).into_owned();
        Some((text, sockets))
    }
}
