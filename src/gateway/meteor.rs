//! What the program says of the Meteor server behind it.

use super::address::UpstreamAddress;
use crate::base::error::{Error, Result};

/// The Meteor app in front of which this server stands:
/// [`Builder::meteor`](crate::Builder::meteor).
///
/// ```
/// # use updraft::Meteor;
/// let one = Meteor::at("http://127.0.0.1:4000");
/// let several = Meteor::at("http://10.0.0.1:4000").and_at("http://10.0.0.2:4000");
/// ```
#[derive(Clone, Debug)]
pub struct Meteor {
    /// As the program gave them.
    urls: Vec<String>,
    logins: Vec<String>,
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
            questions: Vec::new(),
        }
    }

    /// Another process of the same app. Clients of one address are sent to one process, as long as
    /// that lives.
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
