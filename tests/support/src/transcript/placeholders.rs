//! `<SID>`, `<NEW>` and `HOST`, which stand for what differs from run to run. A session id is
//! learnt from the first frame that shows one, must stay the same from then on, and is nobody
//! else's.

const SESSIONS: [&str; 2] = ["<SID>", "<NEW>"];
const HOST: &str = "HOST";

/// The letters and digits of Meteor's ids: those that people do not mistake for one another.
const ALPHABET: &str = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
const ID_LENGTH: usize = 17;

/// What the placeholders stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Placeholders {
    pub(super) host: Option<String>,
    sessions: [Option<String>; 2],
}

impl Placeholders {
    /// The text with all that is known put in.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(host) = &self.host {
            text = text.replace(HOST, host);
        }
        for (name, session) in SESSIONS.iter().zip(&self.sessions) {
            if let Some(session) = session {
                text = text.replace(name, session);
            }
        }
        text
    }

    /// What the placeholders stand for if `actual` is what was meant by `expected`.
    pub(super) fn learn(&self, expected: &str, actual: &str) -> Option<Self> {
        let expected = self.fill(expected);
        let first =
            (0..SESSIONS.len()).filter_map(|which| Some((expected.find(SESSIONS[which])?, which)));
        let Some((_, which)) = first.min() else {
            return (expected == actual).then(|| self.clone());
        };
        let (before, _) = expected.split_once(SESSIONS[which])?;
        let id = actual.strip_prefix(before)?.get(..ID_LENGTH)?;
        let is_id = id.chars().all(|letter| ALPHABET.contains(letter));
        let is_known = self.sessions.iter().flatten().any(|known| known == id);
        if !is_id || is_known {
            return None;
        }
        let mut learnt = self.clone();
        learnt.sessions[which] = Some(id.to_owned());
        learnt.learn(&expected, actual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_learnt_once() {
        let nothing = Placeholders::default();
        let learnt = nothing.learn("[<SID>,<SID>]", "[kpNzWxsDHYcxAHj5M,kpNzWxsDHYcxAHj5M]");
        let learnt = learnt.unwrap();
        assert_eq!(learnt.fill("-<SID>-"), "-kpNzWxsDHYcxAHj5M-");
        assert!(learnt.learn("<SID>", "kpNzWxsDHYcxAHj5M").is_some());
        assert!(learnt.learn("<SID>", "kpNzWxsDHYcxAHj5N").is_none());
        assert!(learnt.learn("x", "x").is_some());
        assert!(learnt.learn("<NEW>", "kpNzWxsDHYcxAHj5M").is_none());
        let both = learnt.learn("<NEW>", "kpNzWxsDHYcxAHj5N").unwrap();
        assert_eq!(
            both.fill("<SID> <NEW>"),
            "kpNzWxsDHYcxAHj5M kpNzWxsDHYcxAHj5N"
        );
    }

    #[test]
    fn only_ids_of_the_alphabet_pass() {
        let nothing = Placeholders::default();
        for id in [
            "kpNzWxsDHYcxAHj50",
            "kpNzWxsDHYcxAHj5",
            "kpNzWxsDHYcxAHj5Mx",
            "",
            "ééééééééé",
        ] {
            assert!(nothing.learn("\"<SID>\"", &format!("\"{id}\"")).is_none());
        }
    }

    #[test]
    fn the_host_is_given() {
        let placeholders = Placeholders {
            host: Some("127.0.0.1:3000".into()),
            sessions: [None, None],
        };
        assert!(placeholders.learn("=HOST=", "=127.0.0.1:3000=").is_some());
        assert!(placeholders.learn("=HOST=", "=127.0.0.1:3001=").is_none());
    }
}
