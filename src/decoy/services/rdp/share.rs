//! The one message of the share that is said here: why the session ends (MS-RDPBCGR 2.2.5.1).

/// The user may not log on from afar: ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES.
const INSUFFICIENT_PRIVILEGES: u32 = 9;

/// The server, as a channel and as a user.
const SERVER: u16 = 1002;

/// A Set Error Info PDU of a share that is not there yet.
pub(super) fn refusal() -> Vec<u8> {
    const DATA_PDU: u16 = 0x17;
    const SET_ERROR_INFO: u8 = 0x2f;
    const BYTES: u16 = 22;
    // From the kind on.
    let counted = BYTES - 14;
    let mut out = Vec::with_capacity(BYTES.into());
    out.extend([BYTES, DATA_PDU, SERVER].into_iter().flat_map(u16::to_le_bytes));
    out.extend([0, 0, 0, 0, 0, 1]);
    out.extend(counted.to_le_bytes());
    out.extend([SET_ERROR_INFO, 0, 0, 0]);
    out.extend(INSUFFICIENT_PRIVILEGES.to_le_bytes());
    out
}
