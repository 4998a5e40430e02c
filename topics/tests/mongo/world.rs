//! A MongoDB for one test, and the store in a database of its own.

use std::sync::Mutex;
use std::time::Duration;

use mongodb::{Client, Database};
use updraft_test_support::mongo::{MongoServer, Source};
use updraft_test_support::proxy::Proxy;
use updraft_topics::conformance::{Handles, Harness};
use updraft_topics::{MongoSettings, MongoStore};

/// A database that no other test uses, and the way there.
pub(crate) struct World {
    url: String,
    /// And where it leads. A set of several servers, or one elsewhere, is not to be led through a
    /// proxy.
    proxy: Option<(Proxy, u16)>,
    others: Mutex<Vec<Proxy>>,
    _server: MongoServer,
}

impl World {
    pub(crate) fn start(source: &Source) -> Self {
        let server = MongoServer::start(source);
        let local = server.url().strip_prefix("mongodb://127.0.0.1:");
        let local = local.and_then(|rest| rest.split_once('/'));
        let local = local.and_then(|(port, rest)| Some((port.parse().ok()?, rest)));
        let (proxy, url) = match local {
            Some((port, rest)) => {
                let proxy = Proxy::start(port);
                let url = format!("mongodb://127.0.0.1:{}/{rest}", proxy.port());
                (Some((proxy, port)), url)
            }
            None => (None, server.url().to_owned()),
        };
        Self {
            url,
            proxy,
            others: Mutex::default(),
            _server: server,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `None` if the server is not on this machine, or is a set of several.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().map(|(proxy, _)| proxy)
    }

    pub(crate) async fn database(&self) -> Database {
        let client = Client::with_uri_str(&self.url).await.unwrap();
        client.default_database().unwrap()
    }

    /// A store to which everything comes late, and from it, where a proxy can be put in between.
    pub(crate) async fn slow_store(&self, late: Duration) -> MongoStore {
        let mut url = self.url.clone();
        if let Some((to, target)) = &self.proxy {
            let proxy = Proxy::start(*target);
            proxy.set(|faults| faults.latency = late);
            let ports = [to.port(), proxy.port()].map(|port| format!("127.0.0.1:{port}/"));
            url = url.replace(&ports[0], &ports[1]);
            self.others.lock().unwrap().push(proxy);
        }
        MongoStore::open(&url, settings()).await.unwrap()
    }

    pub(crate) async fn store(&self) -> MongoStore {
        MongoStore::open(self.url(), settings()).await.unwrap()
    }
}

impl Harness for World {
    async fn open(&self) -> Handles {
        Handles::new(&self.store().await)
    }

    /// MongoDB's own crashes are its own; those who use it can be cut off.
    async fn kill(&self) {
        if let Some(proxy) = self.proxy() {
            proxy.cut();
        }
    }
}

pub(crate) fn settings() -> MongoSettings {
    let mut settings = MongoSettings::default();
    // The machine may be slow, and eight producers of one topic may be in each other's way.
    settings.deadline = Duration::from_secs(300);
    settings
}
