//! A server of its own for each test, and a client.

use std::path::Path;
use std::time::Duration;

use overboot_bootset::{Blob, BootSet, Layer, LayerFormat};
use overboot_digest::Digest;
use overboot_server::{Running, Server, ServerConfig};
use overboot_store::{ArtifactManifest, Store};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

/// What a blob in the store contains.
pub const BLOB: &[u8] = b"the kernel, the initrd and the base";

/// A running server with a store that has the boot set `discovery`.
pub struct TestServer {
    running: Option<Running>,
    runtime: Runtime,
    dir: TempDir,
    agent: Agent,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, if the status is the expected one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

impl TestServer {
    /// What it serves.
    pub fn store(&self) -> Store {
        Store::open(self.dir.path().join("store")).unwrap()
    }

    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        publish(&dir.path().join("store"));
        let mut config = ServerConfig::new(dir.path().join("state"), dir.path().join("store"));
        config.loaders = Some(dir.path().join("loaders"));
        change(&mut config);
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(Server::start(config)).unwrap();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self { running: Some(running), runtime, dir, agent }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.as_ref().unwrap().http_addr())
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = self.agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        let body = answer.body_mut().read_to_vec().unwrap();
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], &body.to_string())
    }

    /// A node with this MAC address and a no-op OBM; its id.
    pub fn node(&self, mac: &str) -> String {
        let body = serde_json::json!({
            "name": "node", "type": "compute", "identifiers": [mac],
            "obms": [{"service": "noop-obm-service", "config": {}}],
        });
        let node = self.json("POST", "/api/current/nodes", &body).expect(201);
        node["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown()).unwrap();
        }
    }
}

fn publish(dir: &Path) {
    let store = Store::open_or_create(dir).unwrap();
    let blob = store.put_bytes(BLOB).unwrap();
    let set = BootSet {
        format: BootSet::FORMAT,
        name: "discovery".to_owned(),
        kernel: Blob { digest: blob.digest, size: blob.size },
        initrd: vec![Blob { digest: blob.digest, size: blob.size }],
        firmware: None,
        modules: None,
        base: Layer {
            name: "base".to_owned(),
            digest: blob.digest,
            size: blob.size,
            format: LayerFormat::Squashfs,
            chunk_size: 4 << 20,
            chunks: vec![Digest::of(BLOB)],
        },
        overlays: Vec::new(),
        cmdline: "quiet".to_owned(),
        ram_min: 0,
    };
    let set = store.put_bytes(&set.to_bytes().unwrap()).unwrap();
    let signature = store.put_bytes(b"untrusted comment: a signature\n").unwrap();
    let layer = |kind: &str, content| overboot_store::Layer::new(kind, content);
    let manifest = ArtifactManifest::new(
        "application/vnd.overboot.set.v1",
        layer("application/vnd.overboot.set.v1+json", set),
    )
    .with_layer(layer("application/vnd.overboot.set.v1.minisig", signature));
    store.publish("set/discovery", &manifest).unwrap();
}
