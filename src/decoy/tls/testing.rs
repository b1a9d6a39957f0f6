//! Hellos for tests.

use super::hello::Hello;

/// The handshake message of a hello. Extensions whose content is not in [`Hello`] are empty.
pub(crate) fn hello_of(hello: &Hello) -> Vec<u8> {
    let mut body = hello.version.to_be_bytes().to_vec();
    body.extend([0x11; 32]);
    body.push(0);
    body.extend(vector16(&shorts(&hello.ciphers)));
    body.extend([1, 0]);
    let extensions = hello.extensions.iter().flat_map(|kind| extension(hello, *kind));
    body.extend(vector16(&extensions.collect::<Vec<_>>()));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A handshake message in records of at most `bytes`.
pub(crate) fn in_records(message: &[u8], bytes: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &vector16(part)].concat();
    message.chunks(bytes).flat_map(record).collect()
}

fn extension(hello: &Hello, kind: u16) -> Vec<u8> {
    let data = match kind {
        0 => {
            let name = hello.server_name.as_deref().unwrap_or_default();
            vector16(&[&[0][..], &vector16(name)].concat())
        }
        10 => vector16(&shorts(&hello.groups)),
        11 => vector8(&hello.point_formats),
        13 => vector16(&shorts(&hello.signatures)),
        16 => vector16(&hello.alpn.iter().flat_map(|name| vector8(name)).collect::<Vec<_>>()),
        43 => vector8(&shorts(&hello.versions)),
        _ => Vec::new(),
    };
    [&kind.to_be_bytes()[..], &vector16(&data)].concat()
}

fn shorts(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}
