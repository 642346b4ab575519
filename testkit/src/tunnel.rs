//! An HTTPS proxy that leads every host name to one server on loopback.
//!
//! Some programs build the host name that they speak to from a setting (restic does for Azure: account, `.blob.`, suffix), and no name
//! server knows that name. Told of this proxy by `HTTPS_PROXY`, they reach a test's server under it, with TLS between the two ends.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A running proxy; it takes no more connections after drop.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// A proxy whose connections all lead to `port` on loopback.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.unwrap_or_else(|error| panic!("listen for a tunnel: {error}"));
        let address = listener.local_addr().expect("a bound listener must have an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(|client| client.ok().filter(|_| !seen.load(Ordering::Acquire)))
            {
                // A connection that fails is the client's to notice.
                thread::spawn(move || serve(client, port));
            }
        });
        Self { address, stopped, thread: Some(thread) }
    }

    /// What `HTTPS_PROXY` has to be, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes one CONNECT and copies both ways until either side ends.
fn serve(client: TcpStream, port: u16) -> io::Result<()> {
    let mut request = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (back_from, back_to) = (server.try_clone()?, client);
    let back = thread::spawn(move || copy(&mut &back_from, &back_to));
    copy(&mut request, &server);
    let _ = back.join();
    Ok(())
}

fn copy(from: &mut impl io::Read, mut to: &TcpStream) {
    // Whatever ends the one direction ends the other: the peer sees the connection close.
    let _ = io::copy(from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
