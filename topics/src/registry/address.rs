//! The address of a Redis as BeeORM writes it, and the URL that it stands for.

/// Of what form an address is.
const FORM: &str = "write it as HOST:PORT:DATABASE, as in localhost:6379:0";

/// Where a Redis is, and which part of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedisAddress {
    pub(super) url: String,
    /// What is put in front of the names of all keys and channels.
    pub(super) namespace: String,
}

impl RedisAddress {
    /// Reads `HOST:PORT:DATABASE`, `HOST:PORT:DATABASE:NAMESPACE`, the same with the path of a socket
    /// in place of `HOST:PORT`, each with `?user=USER&password=PASSWORD` behind it, or a URL. An
    /// error says what is wrong, without the password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            let is_known = ["redis://", "rediss://", "unix://", "redis+unix://"]
                .iter()
                .any(|scheme| text.starts_with(scheme));
            return is_known
                .then(|| Self::new(text.to_owned(), ""))
                .ok_or_else(|| format!("the URL is not that of a Redis; {FORM}"));
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let credentials = Credentials::parse(query)?;
        let wrong =
            |reason: &str| format!("`{address}` is no address of a Redis: {reason}; {FORM}");
        if let Some(path) = address.strip_prefix('/') {
            let (path, rest) = path
                .split_once(':')
                .ok_or_else(|| wrong("it has no database"))?;
            let (database, namespace) = rest.split_once(':').unwrap_or((rest, ""));
            let database = database_number(database).map_err(|reason| wrong(&reason))?;
            let mut url = format!("unix:///{}?db={database}", escaped(path, "/"));
            credentials.add_to_query(&mut url);
            return Ok(Self::new(url, namespace));
        }
        if !address.contains(':') {
            return Err(wrong("it has no port"));
        }
        let (host, rest) = host(address).ok_or_else(|| wrong("it has no host"))?;
        let mut parts = rest.splitn(3, ':');
        let port = parts.next().unwrap_or_default();
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if !is_port {
            return Err(wrong("it has no port"));
        }
        let database = parts.next().ok_or_else(|| wrong("it has no database"))?;
        let database = database_number(database).map_err(|reason| wrong(&reason))?;
        let namespace = parts.next().unwrap_or_default();
        if namespace == "updraft" {
            return Err(wrong("the namespace `updraft` is taken"));
        }
        let login = credentials.login();
        let url = format!("redis://{login}{host}:{port}/{database}");
        Ok(Self::new(url, namespace))
    }

    fn new(url: String, namespace: &str) -> Self {
        let namespace = match namespace {
            "" => String::new(),
            name => format!("{name}:"),
        };
        Self { url, namespace }
    }
}

/// The host, which may be an IPv6 address in brackets, and what is behind it and a colon.
fn host(address: &str) -> Option<(&str, &str)> {
    let (host, rest) = match address.strip_prefix('[') {
        Some(inside) => {
            let (_, rest) = inside.split_once(']')?;
            (address.strip_suffix(rest)?, rest.strip_prefix(':')?)
        }
        None => address.split_once(':')?,
    };
    let is_host = |letter: char| !letter.is_whitespace() && !matches!(letter, '/' | '@' | '#');
    (!host.is_empty() && host.chars().all(is_host)).then_some((host, rest))
}

fn database_number(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("its database `{text}` is not a number from 0"))
}

#[derive(Default)]
struct Credentials<'a> {
    user: &'a str,
    password: &'a str,
}

impl<'a> Credentials<'a> {
    fn parse(query: &'a str) -> Result<Self, String> {
        let mut credentials = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("user", user)) => credentials.user = user,
                Some(("password", password)) => credentials.password = password,
                _ => {
                    let text = "the address has something else behind `?` than user=USER and \
                                password=PASSWORD; remove it";
                    return Err(text.into());
                }
            }
        }
        Ok(credentials)
    }

    fn login(&self) -> String {
        match (self.user, self.password) {
            ("", "") => String::new(),
            (user, password) => format!("{}:{}@", escaped(user, ""), escaped(password, "")),
        }
    }

    fn add_to_query(&self, url: &mut String) {
        for (name, value) in [("user", self.user), ("pass", self.password)] {
            if !value.is_empty() {
                url.extend(["&", name, "=", &escaped(value, "")]);
            }
        }
    }
}

/// The text as a part of a URL.
fn escaped(text: &str, safe: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let letter = char::from(byte);
        if letter.is_ascii_alphanumeric() || "-._~".contains(letter) || safe.contains(letter) {
            escaped.push(letter);
        } else {
            escaped.extend(["%", &format!("{byte:02X}")]);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_001_031_an_address_stands_for_a_url() {
        for (text, url, namespace) in [
            ("localhost:6379:0", "redis://localhost:6379/0", ""),
            ("192.168.1.20:6379:3", "redis://192.168.1.20:6379/3", ""),
            ("redis:6379:1:app", "redis://redis:6379/1", "app:"),
            ("[::1]:6379:2", "redis://[::1]:6379/2", ""),
            (
                "10.0.0.1:6379:1?user=bee&password=a/b@c",
                "redis://bee:a%2Fb%40c@10.0.0.1:6379/1",
                "",
            ),
            (
                "10.0.0.1:6379:1:x?password=p",
                "redis://:p@10.0.0.1:6379/1",
                "x:",
            ),
            (
                "/var/redis.sock:1:global",
                "unix:///var/redis.sock?db=1",
                "global:",
            ),
            (
                "/a b.sock:0?user=u&password=p&",
                "unix:///a%20b.sock?db=0&user=u&pass=p",
                "",
            ),
            ("rediss://cache:6380/4", "rediss://cache:6380/4", ""),
        ] {
            let address = RedisAddress::parse(text).unwrap();
            assert_eq!((&*address.url, &*address.namespace), (url, namespace));
        }
    }

    #[test]
    fn what_is_no_address_says_why_and_does_not_repeat_a_password() {
        for (text, reason) in [
            ("", "no port"),
            ("localhost", "no port"),
            (":6379:0", "no host"),
            ("user@host:6379:0", "no host"),
            ("[::1:6379:0", "no host"),
            ("localhost:6379", "no database"),
            ("localhost:port:0", "no port"),
            ("localhost:0:0", "no port"),
            ("localhost:65536:0", "no port"),
            ("localhost:6379:", "its database ``"),
            ("localhost:6379:-1", "its database `-1`"),
            ("localhost:6379:first", "its database `first`"),
            ("/var/redis.sock", "no database"),
            ("http://localhost", "not that of a Redis"),
            ("localhost:6379:0?password=secret&tls=1", "something else"),
            ("localhost:6379:x?password=secret", "its database `x`"),
        ] {
            let error = RedisAddress::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
