//! What the program says of the Meteor server behind it.

use std::fmt;

use super::address::UpstreamAddress;
use crate::base::error::{Error, Result};
use crate::base::ids;

/// Bytes of the key of the cookie, with which it cannot be guessed.
const SHORTEST_KEY: usize = 16;

/// The Meteor app in front of which this server stands:
/// [`Builder::meteor`](crate::Builder::meteor).
///
/// ```
/// # use updraft::Meteor;
/// let one = Meteor::at("http://127.0.0.1:4000");
/// let several = Meteor::at("http://10.0.0.1:4000").and_at("http://10.0.0.2:4000");
/// ```
#[derive(Clone)]
pub struct Meteor {
    /// As the program gave them.
    urls: Vec<String>,
    logins: Vec<String>,
    http: bool,
    cookie_key: Option<Vec<u8>>,
    /// Methods that change the user, each with the one that says who it is then.
    questions: Vec<(String, String)>,
}

impl Meteor {
    /// The app at this address, for example `http://127.0.0.1:4000`, or `http://127.0.0.1:4000/app`
    /// if its `ROOT_URL` has the path `/app`.
    ///
    /// The connection between the two is not encrypted.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            logins: Vec::new(),
            http: false,
            cookie_key: None,
            questions: Vec::new(),
        }
    }

    /// Another process of the same app. Clients of one address are sent to one process, as long as
    /// that lives; with [`http`](Self::http) a browser keeps its process by a cookie, whatever its
    /// address.
    #[must_use]
    pub fn and_at(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// A method of the app that logs its caller in: its result has the members `id` and `token`,
    /// which are the user's id and a login token. Those of Meteor's own packages are known: `login`,
    /// `createUser`, `resetPassword`, `verifyEmail` and `getNewToken`.
    #[must_use]
    pub fn login_method(mut self, name: impl Into<String>) -> Self {
        self.logins.push(name.into());
        self
    }

    /// A method of the app that changes the user without saying so in its result, by
    /// `this.setUserId`. After each of its successes this server calls another method of the app,
    /// `question`, without parameters: it returns `this.userId`.
    ///
    /// ```
    /// # use updraft::Meteor;
    /// let meteor = Meteor::at("http://127.0.0.1:4000").user_after("impersonate", "whoAmI");
    /// ```
    #[must_use]
    pub fn user_after(mut self, method: impl Into<String>, question: impl Into<String>) -> Self {
        self.questions.push((method.into(), question.into()));
        self
    }

    /// The methods that change the user, each with the one that says who it is then.
    pub(crate) fn questions(&self) -> &[(String, String)] {
        &self.questions
    }

    /// Whether HTTP requests that are not this server's go to the app: its pages, its scripts, its
    /// uploads, its other WebSockets. No by default; then they are answered with 404, and something
    /// else serves the page.
    ///
    /// The app then finds one more entry in `X-Forwarded-For`: raise its `HTTP_FORWARDED_COUNT` by
    /// one.
    #[must_use]
    pub fn http(mut self, is_passed: bool) -> Self {
        self.http = is_passed;
        self
    }

    /// The key of the cookie that keeps a browser at one of several processes. By default it is
    /// drawn at random when the server starts, and a browser that comes back to another server, or
    /// to this one restarted, may get another process. Servers with the same key know each other's
    /// cookies.
    ///
    /// It is a secret of at least 16 bytes: who has it can find out the addresses of the processes.
    #[must_use]
    pub fn cookie_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.cookie_key = Some(key.into());
        self
    }

    pub(super) fn passes_http(&self) -> bool {
        self.http
    }

    /// The key of the cookie.
    pub(super) fn key(&self) -> Result<Vec<u8>> {
        if let Some(key) = &self.cookie_key {
            if key.len() < SHORTEST_KEY {
                return Err(Error::configuration(format!(
                    "the key of the cookie of the Meteor servers has {} bytes; it must have at \
                     least {SHORTEST_KEY}",
                    key.len()
                )));
            }
            return Ok(key.clone());
        }
        let secret = ids::secret().map_err(|error| {
            Error::configuration(format!(
                "the cookie of the Meteor servers has no key: {error}"
            ))
        })?;
        Ok(secret.into_bytes())
    }

    /// The methods that the program has named.
    pub(crate) fn login_methods(&self) -> &[String] {
        &self.logins
    }

    /// Reads the addresses, or says which is wrong.
    pub(super) fn addresses(&self) -> Result<Vec<UpstreamAddress>> {
        let mut addresses = Vec::new();
        for url in &self.urls {
            let address = UpstreamAddress::parse(url).map_err(|why| {
                Error::configuration(format!("the address of a Meteor server, {url:?}, {why}"))
            })?;
            if addresses.contains(&address) {
                let text = format!("the address of a Meteor server, {url:?}, is given twice");
                return Err(Error::configuration(text));
            }
            addresses.push(address);
        }
        Ok(addresses)
    }

    /// The path of the app, which is that of all its processes.
    pub(crate) fn prefix(&self) -> Result<String> {
        let addresses = self.addresses()?;
        let mut prefixes = addresses.iter().map(UpstreamAddress::prefix);
        let first = prefixes.next().unwrap_or_default();
        match prefixes.find(|prefix| *prefix != first) {
            None => Ok(first.to_owned()),
            Some(other) => Err(Error::configuration(format!(
                "the Meteor servers have different paths: {first:?} and {other:?}"
            ))),
        }
    }
}

impl fmt::Debug for Meteor {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meteor")
            .field("urls", &self.urls)
            .field("logins", &self.logins)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
