//! The promises of the decoy role, through real sockets on loopback.

mod bind;
mod hostile;
mod manners;
mod places;
mod secrets;
mod sessions;
mod ssh;
mod tls;
mod udp;
