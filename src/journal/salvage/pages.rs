//! The pages of a damaged file, as raw bytes, with its log laid over.
//!
//! Reads the format of sqlite.org/fileformat2.html (sections 1.3, 4) without SQLite, which gives up at the first broken
//! link. Every number read here is a claim: bounds are checked, wrong ones give `None`.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::journal::sqlite::PAGE_BYTES;

/// One page.
pub(in crate::journal) type Page = Vec<u8>;

/// A file and its log.
#[derive(Debug)]
pub(in crate::journal) struct Pages {
    file: File,
    bytes: u64,
    log: Option<Log>,
}

impl Pages {
    /// Opens the file and, if there is one, the log at `log`.
    pub fn open(path: &Path, log: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            file,
            bytes,
            log: Log::open(log),
        })
    }

    /// Bytes of file and log.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.log.as_ref().map_or(0, |log| log.bytes)
    }

    /// The number of the last page.
    pub fn last(&self) -> u32 {
        let pages = u32::try_from(self.bytes.div_ceil(PAGE_BYTES as u64)).unwrap_or(u32::MAX);
        let in_log = self.log.iter().flat_map(|log| log.pages.keys().copied()).max();
        pages.max(in_log.unwrap_or(0))
    }

    /// A page by its number, from 1, as the last commit left it. A torn last page is filled up with zeros.
    pub fn read(&self, number: u32) -> Option<Page> {
        if let Some(page) = self.log.as_ref().and_then(|log| log.page(number)) {
            return Some(page);
        }
        let at = u64::from(number.checked_sub(1)?) * PAGE_BYTES as u64;
        let there = usize::try_from(self.bytes.checked_sub(at)?.min(PAGE_BYTES as u64))
            .ok()
            .filter(|there| *there > 0)?;
        let mut page = vec![0; PAGE_BYTES];
        self.file.read_exact_at(page.get_mut(..there)?, at).ok()?;
        Some(page)
    }
}

/// The write-ahead log.
#[derive(Debug)]
pub(in crate::journal) struct Log {
    file: File,
    bytes: u64,
    /// Where the newest committed version of a page begins.
    pages: HashMap<u32, u64>,
    /// Places of pages behind a broken frame: written in the same run, unreachable for SQLite.
    pub loose: Vec<u64>,
}

impl Log {
    /// Reads the frames; `None` if there is no log or its header is broken.
    pub fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let bytes = file.metadata().ok()?.len();
        let mut log = Self {
            file,
            bytes,
            pages: HashMap::new(),
            loose: Vec::new(),
        };
        log.scan()?;
        Some(log)
    }

    /// The page at a place of the log.
    pub fn page_at(&self, at: u64) -> Option<Page> {
        let mut page = vec![0; PAGE_BYTES];
        self.file.read_exact_at(&mut page, at).ok()?;
        Some(page)
    }

    fn page(&self, number: u32) -> Option<Page> {
        self.page_at(*self.pages.get(&number)?)
    }

    /// Goes over the frames: sound ones up to the last commit, then those of the same run behind a broken one.
    fn scan(&mut self) -> Option<()> {
        let mut header = [0; LOG_HEADER];
        self.file.read_exact_at(&mut header, 0).ok()?;
        let salts = header.get(16..24)?.to_vec();
        let mut sum = Checksum::begin(&header)?;
        let (mut at, mut sound, mut open) = (LOG_HEADER as u64, true, Vec::new());
        let mut frame = vec![0; FRAME_HEADER + PAGE_BYTES];
        while self.file.read_exact_at(&mut frame, at).is_ok() && frame.get(8..16) == Some(&salts) {
            sound = sound && sum.takes(&frame);
            let (number, page_at) = (word(&frame, 0)?, at + FRAME_HEADER as u64);
            if !sound {
                self.loose.push(page_at);
            } else {
                open.push((number, page_at));
                if word(&frame, 4)? != 0 {
                    self.pages.extend(open.drain(..));
                }
            }
            at += (FRAME_HEADER + PAGE_BYTES) as u64;
        }
        // A broken last frame is what a kill leaves; only frames behind it were complete once.
        if self.loose.len() == 1 {
            self.loose.clear();
        }
        Some(())
    }
}

/// The running checksum of a log (section 4.2).
struct Checksum {
    big_endian: bool,
    state: (u32, u32),
}

impl Checksum {
    fn begin(header: &[u8]) -> Option<Self> {
        let big_endian = match word(header, 0)? {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let mut sum = Self {
            big_endian,
            state: (0, 0),
        };
        sum.add(header.get(..24)?);
        (sum.state == (word(header, 24)?, word(header, 28)?)).then_some(sum)
    }

    /// Whether a frame carries the right sum.
    fn takes(&mut self, frame: &[u8]) -> bool {
        let (Some(head), Some(page)) = (frame.get(..8), frame.get(FRAME_HEADER..)) else {
            return false;
        };
        self.add(head);
        self.add(page);
        (word(frame, 16), word(frame, 20)) == (Some(self.state.0), Some(self.state.1))
    }

    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.state;
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            let read = if self.big_endian {
                u32::from_be_bytes
            } else {
                u32::from_le_bytes
            };
            first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
        }
        self.state = (first, second);
    }
}

/// The big-endian 32-bit number at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
