//! A wire that breaks.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// Passes connections on to a port, and cuts some of those that carry much.
pub(crate) struct Wire {
    port: u16,
    cuts: Arc<AtomicUsize>,
    carried: Arc<AtomicU64>,
}

impl Wire {
    /// To `port`; the first `cuts` connections that carry more than `after` bytes, in either direction, break there.
    pub(crate) fn to(port: u16, cuts: usize, after: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicUsize::new(cuts));
        let carried = Arc::new(AtomicU64::new(0));
        let wire = Self { port: here, cuts: Arc::clone(&cuts), carried: Arc::clone(&carried) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (cuts, carried) = (Arc::clone(&cuts), Arc::clone(&carried));
                    thread::spawn(move || pass(from, to, after, &cuts, &carried));
                }
            }
        });
        wire
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Breaks that were asked for and have not come.
    pub(crate) fn left(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }

    /// All bytes, both ways.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, after: u64, cuts: &AtomicUsize, all: &AtomicU64) {
    let mut buffer = vec![0; 32 << 10];
    let mut carried = 0;
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
        carried += read as u64;
        all.fetch_add(read as u64, Ordering::SeqCst);
        let cut = |left: usize| left.checked_sub(1);
        if carried > after && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_ok() {
            break;
        }
    }
    // Both ways at once: what is cut is cut.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
