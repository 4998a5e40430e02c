//! What routing needs of a message: its kind, and the ids and names in it.

use std::borrow::Cow;
use std::sync::Arc;

use super::logins::LoginOutcome;
use crate::message::{Members, is_falsy, string_of, strings_of};

/// The session's id, if a message of Meteor is `connected`.
pub fn connected(text: &str) -> Option<Arc<str>> {
    let mut members = Members::of(text)?;
    let (mut is_connected, mut session) = (false, None);
    for member in members.by_ref() {
        match &*member.key {
            "msg" => is_connected = string_of(member.value)? == "connected",
            "session" => session = string_of(member.value),
            _ => {}
        }
    }
    let session = session.filter(|id| is_connected && !id.is_empty());
    session
        .filter(|_| members.is_complete())
        .map(|id| id.as_ref().into())
}

/// A client's message. Of members that occur twice the last counts, as everywhere.
#[derive(Debug, Default)]
pub(super) struct ClientEnvelope<'a> {
    msg: Option<&'a str>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    seed: Option<&'a str>,
}

impl<'a> ClientEnvelope<'a> {
    /// `None` if the text is no JSON object.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut members = Members::of(text)?;
        let mut envelope = Self::default();
        for member in members.by_ref() {
            let place = match &*member.key {
                "msg" => &mut envelope.msg,
                "id" => &mut envelope.id,
                "name" => &mut envelope.name,
                "method" => &mut envelope.method,
                "params" => &mut envelope.params,
                "randomSeed" => &mut envelope.seed,
                _ => continue,
            };
            *place = Some(member.value);
        }
        members.is_complete().then_some(envelope)
    }

    pub(super) fn msg(&self) -> Option<Cow<'a, str>> {
        self.msg.and_then(string_of)
    }

    /// Whether it does not say what it is.
    pub(super) fn is_without_msg(&self) -> bool {
        self.msg.is_none_or(is_falsy)
    }

    pub(super) fn id(&self) -> Option<Cow<'a, str>> {
        self.id.and_then(string_of)
    }

    pub(super) fn name(&self) -> Option<Cow<'a, str>> {
        self.name.and_then(string_of)
    }

    /// Whether its `params` and `randomSeed` are what they must be, so that Meteor takes it for what
    /// it says that it is.
    pub(super) fn is_well_formed(&self) -> bool {
        self.params.is_none_or(|params| params.starts_with('['))
            && self.seed.is_none_or(|seed| seed.starts_with('"'))
    }

    pub(super) fn method(&self) -> Option<Cow<'a, str>> {
        self.method.and_then(string_of)
    }
}

/// A message of Meteor, read as far as is needed.
#[derive(Debug, Default)]
pub(super) struct UpstreamEnvelope<'a> {
    /// Empty for a greeting, which has none.
    pub(super) msg: Cow<'a, str>,
    pub(super) id: Option<&'a str>,
    pub(super) collection: Option<Cow<'a, str>>,
    methods: Option<&'a str>,
    subs: Option<&'a str>,
    error: Option<&'a str>,
    result: Option<&'a str>,
}

impl<'a> UpstreamEnvelope<'a> {
    /// `None` if the text is no message. A result is read whole only if `is_login` says so of its
    /// id.
    pub(super) fn read(text: &'a str, is_login: impl Fn(&str) -> bool) -> Option<Self> {
        let mut members = Members::of(text)?;
        let mut envelope = Self::default();
        let mut is_greeting = false;
        for member in members.by_ref() {
            match &*member.key {
                "msg" => envelope.msg = string_of(member.value)?,
                "id" => envelope.id = Some(member.value),
                "collection" => envelope.collection = string_of(member.value),
                "methods" => envelope.methods = Some(member.value),
                "subs" => envelope.subs = Some(member.value),
                "error" => envelope.error = Some(member.value),
                "result" => envelope.result = Some(member.value),
                "server_id" => is_greeting = true,
                _ => {}
            }
            if envelope.is_enough(&is_login) {
                // The rest is the client's to read; at least it is not cut off.
                let end = text.trim_end_matches([' ', '\t', '\n', '\r']);
                return end.ends_with('}').then_some(envelope);
            }
        }
        let is_message = is_greeting || !envelope.msg.is_empty();
        (members.is_complete() && is_message).then_some(envelope)
    }

    fn is_enough(&self, is_login: impl Fn(&str) -> bool) -> bool {
        match &*self.msg {
            "" | "ping" | "nosub" => false,
            "added" | "changed" | "removed" | "addedBefore" | "movedBefore" => {
                self.collection.is_some()
            }
            "result" => self.id_string().is_some_and(|id| !is_login(&id)),
            "updated" => self.methods.is_some(),
            "ready" => self.subs.is_some(),
            _ => true,
        }
    }

    pub(super) fn id_string(&self) -> Option<Cow<'a, str>> {
        self.id.and_then(string_of)
    }

    /// The calls of an `updated`.
    pub(super) fn methods(&self) -> Vec<Cow<'a, str>> {
        self.methods.map(strings_of).unwrap_or_default()
    }

    /// The subscriptions of a `ready`.
    pub(super) fn subs(&self) -> Vec<Cow<'a, str>> {
        self.subs.map(strings_of).unwrap_or_default()
    }

    /// Whether a `nosub` says that there is no such publication.
    pub(super) fn is_not_found(&self) -> bool {
        let mut members = self.error.and_then(Members::of).into_iter().flatten();
        members.any(|member| member.key == "error" && member.value == "404")
    }

    /// What the answer to a question says: the user's id, or that there is no user. `None` if it
    /// says neither.
    pub(super) fn user(&self) -> Option<Option<Box<str>>> {
        match (self.error, self.result) {
            (None, None | Some("null")) => Some(None),
            (None, Some(result)) => string_of(result).map(|id| Some(id.as_ref().into())),
            (Some(_), _) => None,
        }
    }

    /// What the result of a login says.
    pub(super) fn outcome(&self) -> LoginOutcome {
        if self.error.is_some() {
            return LoginOutcome::Failed;
        }
        let (mut id, mut has_token) = (None, false);
        for member in self.result.and_then(Members::of).into_iter().flatten() {
            match &*member.key {
                "id" => id = string_of(member.value),
                "token" => has_token = string_of(member.value).is_some(),
                _ => {}
            }
        }
        let user = id.filter(|_| has_token).map(|id| id.into_owned().into());
        LoginOutcome::Succeeded { user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<UpstreamEnvelope<'_>> {
        UpstreamEnvelope::read(text, |id| id == "login")
    }

    #[test]
    fn a_message_is_read_as_far_as_is_needed() {
        let added = read(r#"{"msg":"added","collection":"c","id":"x","fields":{"a" nonsense}}"#);
        assert_eq!(added.unwrap().collection.as_deref(), Some("c"));
        let updated = read(r#"{"msg":"updated","methods":["1","2"]}"#).unwrap();
        assert_eq!(updated.methods(), ["1", "2"]);
        let nosub = r#"{"msg":"nosub","id":"s","error":{"isClientSafe":true,"error":404}}"#;
        assert!(read(nosub).unwrap().is_not_found());
        assert!(!read(r#"{"msg":"nosub","id":"s"}"#).unwrap().is_not_found());
        assert_eq!(read(r#"{"server_id":"0"}"#).unwrap().msg, "");
    }

    #[test]
    fn what_is_no_message_is_none() {
        for text in [
            "",
            "x",
            "5",
            "[]",
            "{}",
            r#"{"msg":5}"#,
            r#"{"a":1}"#,
            r#"{"msg":"added""#,
            r#"{"msg":"added","collection":"c","id":"x","fields":{"a":1"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_login_has_succeeded_if_its_result_has_a_user_and_a_token() {
        let outcome = |rest: &str| {
            let text = format!(r#"{{"msg":"result","id":"login",{rest}}}"#);
            read(&text).unwrap().outcome()
        };
        let user = |user: &str| LoginOutcome::Succeeded {
            user: Some(user.into()),
        };
        assert_eq!(outcome(r#""result":{"id":"u","token":"t"}"#), user("u"));
        assert_eq!(outcome(r#""error":{"error":403}"#), LoginOutcome::Failed);
        let nobody = LoginOutcome::Succeeded { user: None };
        for rest in [r#""result":{"id":"u"}"#, r#""result":5"#, r#""x":0"#] {
            assert_eq!(outcome(rest), nobody, "{rest}");
        }
    }
}
