//! Which pages may show SockJS's iframe page, which talks to the server for them and has the server's own origin.
//! Browsers are told by a Content-Security-Policy: no request of the iframe says any more who is behind it.

use super::{Allowed, Origins};

/// Pages of this machine, as a policy can name them: of IP addresses it knows 127.0.0.1.
const LOCAL: [&str; 4] = [
    "http://localhost:*",
    "http://127.0.0.1:*",
    "https://localhost:*",
    "https://127.0.0.1:*",
];

impl Origins {
    /// The policy; none where any page may. Pages without an origin cannot be named, nor those of IPv6 addresses.
    pub(in crate::server) fn frame_ancestors(&self) -> Option<String> {
        if self.policy.any {
            return None;
        }
        let local = LOCAL.iter().filter(|_| self.is_local);
        let mut policy = String::from("frame-ancestors 'self'");
        for source in local.map(|it| (*it).to_owned()).chain(self.allowed()) {
            policy.push(' ');
            policy.push_str(&source);
        }
        Some(policy)
    }

    fn allowed(&self) -> impl Iterator<Item = String> {
        self.policy.allowed.iter().filter_map(|allowed| {
            let Allowed::Origin {
                scheme,
                host,
                is_wildcard,
                port,
            } = allowed
            else {
                return None;
            };
            let below = if *is_wildcard { "*." } else { "" };
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let can_be_named = !host.contains(':');
            can_be_named.then(|| format!("{scheme}://{below}{host}{port}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;

    fn ancestors(policy: Policy, listener: &str, trusted_proxies: usize) -> Option<String> {
        Origins::new(policy, listener.parse().unwrap(), trusted_proxies).frame_ancestors()
    }

    #[test]
    fn row_021_the_iframe_page_is_for_pages_that_may_talk_to_the_server() {
        let allowed = [
            "https://app.example",
            "http://*.b.example:8443",
            "capacitor://localhost",
            "http://[::1]:3000",
            "null",
        ];
        let policy = || Policy {
            allowed: allowed.iter().filter_map(|it| Allowed::parse(it)).collect(),
            ..Policy::default()
        };
        let listed = "https://app.example http://*.b.example:8443 capacitor://localhost";
        let own = "frame-ancestors 'self'";
        let local = LOCAL.join(" ");
        for (listener, proxies, expected) in [
            ("0.0.0.0", 0, format!("{own} {listed}")),
            ("127.0.0.1", 1, format!("{own} {listed}")),
            ("127.0.0.1", 0, format!("{own} {local} {listed}")),
        ] {
            assert_eq!(ancestors(policy(), listener, proxies), Some(expected));
        }
        let own = Some(own.to_owned());
        assert_eq!(ancestors(Policy::default(), "0.0.0.0", 0), own);
        let any = Policy {
            any: true,
            ..policy()
        };
        assert_eq!(ancestors(any, "127.0.0.1", 0), None);
    }
}
