//! What client and server tell of themselves as they connect: GCC's conference, and Microsoft's blocks in it.
//!
//! In: the user data of a Connect-Initial. Out: who the client is; the server's blocks.
//! Source: ITU-T T.124 section 8.7, MS-RDPBCGR 2.2.1.3 and 2.2.1.4; xrdp 0.9.21.1.

use trapline_schemas::{Field, Value, text};

use super::look::{Family, Look};
use super::mcs::{IO_CHANNEL, USERS};
use super::{frame, mcs};
use crate::decoy::services::ntlm::{decode, u16_at, u32_at};

/// Bytes before the client's blocks: every client writes the same ones but for two lengths.
const HEAD: usize = 23;

/// Kinds of blocks: a client's, a server's.
const CLIENT_CORE: u16 = 0xc001;
const CLIENT_SECURITY: u16 = 0xc002;
const CLIENT_NETWORK: u16 = 0xc003;
const SERVER_CORE: u16 = 0x0c01;
const SERVER_SECURITY: u16 = 0x0c02;
const SERVER_NETWORK: u16 = 0x0c03;

/// Most channels that a client may ask for.
const CHANNELS_MAX: usize = 31;

/// Least bytes of a client's core block.
const CORE_BYTES: usize = 128;

/// What a client tells of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    core: Option<Core>,
    /// Methods of encryption that it knows.
    pub(super) methods: u32,
    /// Names of the channels that it asks for; `None`: it does not say.
    channels: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Core {
    size: (u16, u16),
    keyboard: u32,
    build: u32,
    name: String,
    product: String,
    capabilities: u16,
}

impl Client {
    /// Reads the frame of a Connect-Initial. `None`: it is none, or a server would not go on with it.
    pub(super) fn connect(bytes: &[u8]) -> Option<Self> {
        let message = frame::data(bytes)?;
        Self::read(message.get(mcs::connect_initial(message)?)?)
    }

    /// Reads the user data of one.
    fn read(data: &[u8]) -> Option<Self> {
        let mut client = Self::default();
        let mut blocks = data.get(HEAD..)?;
        while let (Some(kind), Some(size)) = (u16_at(blocks, 0), u16_at(blocks, 2)) {
            let Some((block, rest)) = blocks.split_at_checked(size.into()).filter(|_| size >= 4) else {
                break;
            };
            let content = block.get(4..).unwrap_or_default();
            match kind {
                // xrdp looks whether there is as much at all, and not whether it is this block's.
                CLIENT_CORE => client.core = Some(Core::read(blocks.get(4..)?)?),
                CLIENT_SECURITY => client.methods = u32_at(content, 0).unwrap_or(0),
                CLIENT_NETWORK => client.channels = Some(channels(content)?),
                _ => {}
            }
            blocks = rest;
        }
        Some(client)
    }

    /// How many channels it is given.
    pub(super) fn channel_count(&self) -> u16 {
        self.channels.as_ref().map_or(0, Vec::len) as u16
    }

    /// The user that it becomes, above the lowest.
    pub(super) fn user(&self) -> u16 {
        match self.channels {
            Some(_) => IO_CHANNEL + 1 + self.channel_count() - USERS,
            None => 1,
        }
    }

    /// Whether it wants to be told why a session ends (RNS_UD_CS_SUPPORT_ERRINFO_PDU).
    pub(super) fn wants_reasons(&self) -> bool {
        self.core.as_ref().is_some_and(|core| core.capabilities & 1 != 0)
    }

    /// What is known of the peer by it.
    pub(super) fn facts(&self) -> Vec<(Field, Value)> {
        let mut facts = Vec::with_capacity(8);
        if let Some(core) = &self.core {
            let mut name = |field, name: &str| {
                if !name.is_empty() {
                    facts.push((field, text::clean(name.as_bytes()).into()));
                }
            };
            name(Field::RdpClientName, &core.name);
            name(Field::SourceDomain, &core.name.to_lowercase());
            name(Field::RdpClientBuild, &core.build.to_string());
            name(Field::RdpClientProduct, &core.product);
            name(Field::RdpKeyboardLayout, &format!("0x{:08x}", core.keyboard));
            name(Field::RdpDesktop, &format!("{}x{}", core.size.0, core.size.1));
        }
        let channels = self.channels.iter().flatten();
        let channels: Vec<_> = channels.map(|name| text::clean(name.as_bytes())).collect();
        if !channels.is_empty() {
            facts.push((Field::RdpChannels, channels.into()));
        }
        facts
    }
}

impl Core {
    fn read(block: &[u8]) -> Option<Self> {
        block.get(..CORE_BYTES)?;
        Some(Self {
            size: (u16_at(block, 4)?, u16_at(block, 6)?),
            keyboard: u32_at(block, 12)?,
            build: u32_at(block, 16)?,
            name: name(block.get(20..52)?),
            capabilities: u16_at(block, 140).unwrap_or(0),
            product: name(block.get(142..206).unwrap_or_default()),
        })
    }
}

/// UTF-16 up to its first NUL.
fn name(bytes: &[u8]) -> String {
    let text = decode(bytes, true);
    text.split('\0').next().unwrap_or_default().to_owned()
}

/// Names of channels; one without a name, or without an end to it, is not given.
fn channels(block: &[u8]) -> Option<Vec<String>> {
    let count = usize::try_from(u32_at(block, 0)?).ok()?;
    let rows = block
        .get(4..4 + count.checked_mul(12)?)
        .filter(|_| count <= CHANNELS_MAX)?;
    let names = rows.chunks_exact(12).filter_map(|row| {
        let name = row.get(..8)?;
        let end = name.iter().position(|byte| *byte == 0).filter(|end| *end > 0)?;
        Some(String::from_utf8_lossy(name.get(..end)?).into_owned())
    });
    Some(names.collect())
}

/// The server's user data. In: what the client asked for; what there is of encryption ([`NO_ENCRYPTION`] or more).
pub(super) fn server(look: &Look, client: &Client, asked: Option<u32>, security: &[u8]) -> Vec<u8> {
    let mut core = look.version.to_le_bytes().to_vec();
    core.extend(asked.into_iter().flat_map(u32::to_le_bytes));
    if asked.is_some() {
        core.extend(look.early_capabilities.into_iter().flat_map(u32::to_le_bytes));
    }
    let count = client.channel_count();
    let mut network: Vec<u8> = [IO_CHANNEL, count].into_iter().flat_map(u16::to_le_bytes).collect();
    network.extend((1..=count).flat_map(|number| (IO_CHANNEL + number).to_le_bytes()));
    network.resize(network.len().next_multiple_of(4), 0);
    let blocks = [
        block(SERVER_CORE, &core),
        block(SERVER_NETWORK, &network),
        block(SERVER_SECURITY, security),
    ];
    wrap(&blocks.concat(), look.family)
}

/// What there is of encryption below TLS: no method, no level.
pub(super) const NO_ENCRYPTION: &[u8] = &[0; 8];

fn block(kind: u16, content: &[u8]) -> Vec<u8> {
    let size = (content.len() + 4) as u16;
    [&kind.to_le_bytes()[..], &size.to_le_bytes(), content].concat()
}

/// A conference create response around a server's blocks.
fn wrap(blocks: &[u8], family: Family) -> Vec<u8> {
    const RESPONSE: &[u8] = b"\0\x05\0\x14\x7c\0\x01\x2a\x14\x76\x0a\x01\x01\0\x01\xc0\0McDn";
    let [high, low] = (blocks.len() as u16 | 0x8000).to_be_bytes();
    let length = match family {
        Family::Windows if blocks.len() < 0x80 => &[low][..],
        _ => &[high, low],
    };
    [RESPONSE, length, blocks].concat()
}
