//! Loopback ports for programs that cannot choose one themselves.
//!
//! Asking the kernel for a free port and handing its number to a server is a race: until the server binds it, any other
//! socket may take it. Ports are therefore taken from below Linux' ephemeral range, which no outgoing connection uses, and
//! each is reserved among all test processes of the user by a lock on a file, which the kernel releases when the
//! process dies.

use std::{
    env,
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// First port handed out.
const FIRST: u16 = 20_000;
/// How many ports there are to choose from; the last lies below 32768, where Linux' ephemeral range begins.
const COUNT: u16 = 12_000;

/// A loopback port that no other test has, until this value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    /// Reserves a port that nobody listens on.
    ///
    /// # Errors
    /// When the lock files cannot be written, or every port is in use.
    pub fn reserve() -> io::Result<Self> {
        static TURN: AtomicU16 = AtomicU16::new(0);
        let folder = lock_folder()?;
        fs::create_dir_all(&folder)?;
        // Processes start at different places, so that they seldom meet at all.
        let start = process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let turn = u32::from(TURN.fetch_add(1, Ordering::Relaxed));
            let offset = u16::try_from(start.wrapping_add(turn) % u32::from(COUNT));
            let offset = offset.expect("a remainder of a u16 fits a u16");
            let number = FIRST + offset;
            let reservation = File::create(folder.join(number.to_string()))?;
            let listens_nobody = || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if reservation.try_lock().is_ok() && listens_nobody() {
                return Ok(Self { number, _reservation: reservation });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no free port from {FIRST} to {}", FIRST + COUNT)))
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// One for each user: what another user has made here cannot be opened. A file of our own tells who we are.
fn lock_folder() -> io::Result<PathBuf> {
    let user = tempfile::tempfile()?.metadata()?.uid();
    Ok(env::temp_dir().join(format!("stowage-ports-{user}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_somebody_listens_on_is_passed_over() {
        let taken = Port::reserve().unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken.number())).unwrap();
        let number = taken.number();
        drop(taken);
        assert!((0..50).map(|_| Port::reserve().unwrap()).all(|port| port.number() != number));
    }
}
