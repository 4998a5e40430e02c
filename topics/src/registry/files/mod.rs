//! Registries in files. A parser makes a tree of the text, with the place of each part; what the
//! tree declares, and what is wrong with its shape, is the same for all formats.

mod read;
mod toml;
mod tree;
mod yaml;

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use super::Registry;
use super::problem::Problem;
use tree::Node;

impl Registry {
    /// Adds what a file declares: as TOML if its name ends in `.toml`, else as YAML. What is wrong
    /// with it is told by [`validate`](Self::validate).
    ///
    /// ```no_run
    /// # use updraft_topics::registry::Registry;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::new().file("streams.yaml")?.validate()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn file(self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let is_toml = path.extension().is_some_and(|end| end == "toml");
        Ok(if is_toml {
            self.toml(&name, &text)
        } else {
            self.yaml(&name, &text)
        })
    }

    /// Adds what a text in YAML declares. `file` is what problems are told of.
    ///
    /// ```
    /// use updraft_topics::registry::Registry;
    ///
    /// let text = "
    /// default:
    ///     redis: localhost:6379:0
    ///     streams:
    ///         stream-a:
    ///           - read-group-a
    ///           - read-group-ab
    ///         stream-b:
    ///           - read-group-ab
    /// second:
    ///     redis: 192.168.1.20:6379:3
    ///     streams:
    ///         stream-c:
    ///           - read-group-c
    /// ";
    /// # #[cfg(feature = "redis")]
    /// let registry = Registry::new().yaml("streams.yaml", text).validate().unwrap();
    /// ```
    pub fn yaml(self, file: &str, text: &str) -> Self {
        self.add(yaml::parse(&Arc::from(file), text))
    }

    /// Adds what a text in TOML declares. `file` is what problems are told of.
    ///
    /// ```
    /// use updraft_topics::registry::Registry;
    ///
    /// let text = r#"
    /// [default]
    /// memory = true
    ///
    /// [default.streams]
    /// stream-a = ["read-group-a", "read-group-ab"]
    /// stream-b = ["read-group-ab"]
    ///
    /// [default.order]
    /// read-group-a = "total"
    /// "#;
    /// let registry = Registry::new().toml("streams.toml", text).validate().unwrap();
    /// ```
    pub fn toml(self, file: &str, text: &str) -> Self {
        self.add(toml::parse(&Arc::from(file), text))
    }

    fn add(mut self, parsed: Result<Node, Vec<Problem>>) -> Self {
        match parsed {
            Ok(node) => read::read(&mut self, node),
            Err(problems) => self.problems.extend(problems),
        }
        self
    }
}
