//! The NTSTATUS values that an SMB server says (MS-ERREF 2.3.1).

pub(super) const SUCCESS: u32 = 0;
pub(super) const MORE_PROCESSING_REQUIRED: u32 = 0xc000_0016;
pub(super) const INVALID_HANDLE: u32 = 0xc000_0008;
pub(super) const INVALID_PARAMETER: u32 = 0xc000_000d;
pub(super) const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;
pub(super) const ACCESS_DENIED: u32 = 0xc000_0022;
pub(super) const LOGON_FAILURE: u32 = 0xc000_006d;
pub(super) const ACCOUNT_DISABLED: u32 = 0xc000_0072;
pub(super) const NOT_SUPPORTED: u32 = 0xc000_00bb;
pub(super) const REQUEST_NOT_ACCEPTED: u32 = 0xc000_00d0;
pub(super) const NETWORK_NAME_DELETED: u32 = 0xc000_00c9;
pub(super) const BAD_NETWORK_NAME: u32 = 0xc000_00cc;
pub(super) const USER_SESSION_DELETED: u32 = 0xc000_0203;
pub(super) const NO_PREAUTH_HASH_OVERLAP: u32 = 0xc05d_0000;

/// Errors of SMB1 without 32-bit errors, as class, zero, code (MS-CIFS 2.2.2.4).
pub(super) const BAD_UID: u32 = dos(2, 0x5b);
pub(super) const BAD_TID: u32 = dos(2, 5);
pub(super) const BAD_COMMAND: u32 = dos(2, 0x16);
pub(super) const BAD_MESSAGE: u32 = dos(1, 0x57);
pub(super) const BAD_TREE: u32 = dos(1, 0x40);
pub(super) const BAD_FILE: u32 = dos(1, 6);
pub(super) const NO_ACCESS: u32 = dos(1, 5);
pub(super) const PAUSED: u32 = dos(1, 0x47);

const fn dos(class: u32, code: u32) -> u32 {
    class | code << 16
}

/// Whether an error is one of SMB1's own.
pub(super) const fn is_dos(status: u32) -> bool {
    matches!(status & 0xff, 1 | 2) && status < 0x8000_0000
}
