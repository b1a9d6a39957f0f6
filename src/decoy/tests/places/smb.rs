//! Where clients of SMB put answers to challenges and passwords: in every form of a login, early, late, chained, broken.

use super::Shapes;

const UNICODE: u16 = 0x8000;

/// A message in its frame.
fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// A message of SMB1: words and data.
fn first(command: u8, flags2: u16, words: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = b"\xffSMB".to_vec();
    out.extend([command, 0, 0, 0, 0, 0x18]);
    out.extend((0x4001 | flags2).to_le_bytes());
    out.extend([0; 20]);
    out.push((words.len() / 2) as u8);
    out.extend_from_slice(words);
    out.extend((data.len() as u16).to_le_bytes());
    out.extend_from_slice(data);
    out
}

fn negotiate_first(flags2: u16) -> Vec<u8> {
    first(0x72, flags2, &[], b"\x02NT LM 0.12\0")
}

/// Words of a login by answers of these lengths, or of LAN Manager's own form.
fn login_words(lm: u16, nt: Option<u16>) -> Vec<u8> {
    let mut words = vec![0xff, 0, 0, 0, 4, 65, 50, 0, 0, 0, 0, 0, 0, 0];
    words.extend(lm.to_le_bytes());
    words.extend(nt.map(u16::to_le_bytes).into_iter().flatten());
    words.extend([0; 4]);
    if nt.is_some() {
        words.extend([0xd4, 0, 0, 0]);
    }
    words
}

fn login(lm: &[u8], nt: &[u8]) -> Vec<u8> {
    let names = b"alice\0CORP\0Unix\0Samba\0";
    let words = login_words(lm.len() as u16, Some(nt.len() as u16));
    first(0x73, 0, &words, &[lm, nt, names].concat())
}

/// A login by a token.
fn token_first(token: &[u8]) -> Vec<u8> {
    let mut words = vec![0xff, 0, 0, 0, 4, 65, 50, 0, 0, 0, 0, 0, 0, 0];
    words.extend((token.len() as u16).to_le_bytes());
    words.extend([0, 0, 0, 0, 0xd4, 0, 0, 0x80]);
    first(0x73, 0x0800, &words, &[token, b"Unix\0Samba\0"].concat())
}

/// A request for a share, with a password.
fn tree(password: &[u8]) -> Vec<u8> {
    let words = [&[0xff, 0, 0, 0, 0, 0][..], &(password.len() as u16).to_le_bytes()].concat();
    first(0x75, 0, &words, &[password, b"\\\\files\\data\0?????\0"].concat())
}

/// A message with another command chained behind it.
fn chained_to(command: u8, mut message: Vec<u8>) -> Vec<u8> {
    let end = (message.len() as u16).to_le_bytes();
    message[33] = command;
    message[35..37].copy_from_slice(&end);
    message
}

/// A message of SMB2.
fn second(command: u16, number: u64, session: u64, body: &[u8]) -> Vec<u8> {
    let mut out = b"\xfeSMB\x40\0\0\0\0\0\0\0".to_vec();
    out.extend(command.to_le_bytes());
    out.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(number.to_le_bytes());
    out.extend([0; 8]);
    out.extend(session.to_le_bytes());
    out.extend([0; 16]);
    out.extend_from_slice(body);
    out
}

fn negotiate_second() -> Vec<u8> {
    let body = [&b"\x24\0\x01\0\x01"[..], &[0; 31], b"\x10\x02"].concat();
    second(0, 0, 0, &body)
}

fn token_second(number: u64, session: u64, token: &[u8]) -> Vec<u8> {
    let length = (token.len() as u16).to_le_bytes();
    let body = [b"\x19\0\0\x01\0\0\0\0\0\0\0\0\x58\0", &length[..], &[0; 8], token].concat();
    second(1, number, session, &body)
}

const HELLO: &[u8] = b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2";

/// A type 3 message of these fields: LM, NT, domain, user, workstation, session key; and an integrity code.
fn response(fields: [&[u8]; 6], code: &[u8; 16]) -> Vec<u8> {
    let mut out = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut at = 88;
    for field in fields {
        let length = (field.len() as u16).to_le_bytes();
        out.extend([&length[..], &length, &u32::to_le_bytes(at)].concat());
        at += field.len() as u32;
    }
    out.extend(b"\x06\x82\x88\xe2\x0a\0\x63\x45\0\0\0\x0f");
    out.extend(code);
    out.extend(fields.concat());
    out
}

/// Personality and bytes of each session.
pub(super) fn sessions(shapes: &Shapes) -> Vec<(&'static str, Vec<u8>)> {
    let raw = shapes.raw.as_bytes();
    let answer = [raw, b"\x01\x02\x03\x04\x05\x06\x07\x08"].concat();
    let long = [raw, b"\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", raw, raw].concat();
    let code = raw.first_chunk().unwrap();
    let token = response([&answer, &long, b"CORP", b"alice", b"WS1", raw], code);
    let wide: Vec<u8> = raw.iter().flat_map(|byte| [*byte, 0]).collect();
    let negotiate = negotiate_first(0);
    let old = first(
        0x73,
        0,
        &login_words(24, None),
        &[&answer[..], b"alice\0CORP\0"].concat(),
    );
    let lies = first(
        0x73,
        0,
        &login_words(60_000, Some(24)),
        &[&answer[..], &answer].concat(),
    );
    let chained = [
        first(0x74, 0, b"\x73\0\x27\0", b""),
        login(&answer, &answer).split_off(32),
    ];
    let old_tree = first(
        0x70,
        0,
        b"",
        &[b"\x04\\\\files\\data\0\x04", raw, b"\0\x04?????\0"].concat(),
    );
    let again = [chained_to(0x73, login(&answer, &answer)), login(raw, b"").split_off(32)];
    let trees = [chained_to(0x75, tree(b"x")), tree(raw).split_off(32)];
    let third = [
        chained_to(0x75, login(&answer, &answer)),
        chained_to(0x75, tree(b"x")).split_off(32),
        tree(raw).split_off(32),
    ];
    let logins = [
        again.concat(),
        trees.concat(),
        third.concat(),
        login(raw, b""),
        login(b"", &wide),
        login(&answer, &answer),
        login(b"", &long),
        old,
        lies,
        chained.concat(),
        tree(raw),
        old_tree,
        token_first(&token),
        [login(&answer, b""), b"x".to_vec()].concat(),
    ];
    let mut all = Vec::new();
    for login in logins {
        let login = frame(&login);
        all.push(("samba-smb1", [frame(&negotiate), login.clone()].concat()));
        all.push((
            "windows-server-2016",
            [frame(&negotiate_first(UNICODE)), login.clone()].concat(),
        ));
        all.push(("windows-server-2019", login.clone()));
        all.push(("samba-smb1", [login.clone(), login].concat()));
    }
    let mut compound = second(13, 1, 0, b"\x04\0\0\0\0\0\0\0");
    compound[20] = 72;
    compound.extend(token_second(2, 0, &token));
    for late in [
        token_second(1, 0, &token),
        token_second(1, 77, &token),
        token_second(9, 0, &token),
        second(3, 1, 0, &token),
        token,
        compound,
    ] {
        let late = frame(&late);
        all.push(("samba-debian-12", [frame(&negotiate_second()), late.clone()].concat()));
        let begun = frame(&token_second(1, 0, HELLO));
        all.push((
            "windows-server-2019",
            [frame(&negotiate_second()), begun, late].concat(),
        ));
    }
    all
}
