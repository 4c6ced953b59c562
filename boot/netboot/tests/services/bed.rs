//! A fleet of one opinion, and threads that serve until they are dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use overboot_netboot::{
    BootDecision, Client, Decider, Error, Event, Exit, Machine, Site, View, Work, decide,
};
use tokio_util::sync::CancellationToken;

/// Thinks that every machine is new; remembers what it was told.
#[derive(Debug)]
pub struct Fleet {
    pub site: Site,
    events: Mutex<Vec<Event>>,
}

impl Fleet {
    pub fn new(site: Site) -> Arc<Self> {
        Arc::new(Self { site, events: Mutex::default() })
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

impl Decider for Fleet {
    fn decide<'a>(
        &'a self,
        client: &'a Client,
    ) -> Pin<Box<dyn Future<Output = BootDecision> + Send + 'a>> {
        let view =
            View { machine: Machine::New, work: Work::None, exit: Exit::Firmware, loader: None };
        Box::pin(async move { decide(&self.site, client, &view) })
    }

    fn observe(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

/// A service on a thread of its own; it stops when dropped.
#[derive(Debug)]
pub struct Serving {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Runs `service` on a thread that the calling one starts, so in the caller's network namespace.
    pub fn start<F>(service: impl FnOnce(CancellationToken) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>>,
    {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { service(stopped).await }).unwrap();
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
