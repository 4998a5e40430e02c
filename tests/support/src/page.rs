//! Pages of the guide, whose examples are what the tests run.

use std::fs;
use std::path::Path;

/// A page of `docs`.
#[derive(Debug)]
pub struct Page(String);

impl Page {
    /// Reads `docs/NAME`.
    ///
    /// # Panics
    /// When there is no such page.
    pub fn read(name: &str) -> Self {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let text = fs::read_to_string(docs.join(name));
        Self(text.unwrap_or_else(|error| panic!("docs/{name}: {error}")))
    }

    /// The code blocks of this language under the heading `## SECTION`, in order.
    ///
    /// # Panics
    /// When there is no such section, or none in it.
    pub fn blocks(&self, section: &str, language: &str) -> Vec<String> {
        let heading = format!("## {section}");
        let mut blocks = Vec::new();
        let (mut is_here, mut block, mut fence) = (false, None::<String>, None);
        for line in self.0.lines() {
            let Some(tag) = line.strip_prefix("```") else {
                if fence.is_none() && line.starts_with("## ") {
                    is_here = line == heading;
                }
                if let Some(block) = &mut block {
                    block.push_str(line);
                    block.push('\n');
                }
                continue;
            };
            fence = if fence.is_none() { Some(tag) } else { None };
            match block.take() {
                Some(block) => blocks.push(block),
                None if is_here && fence == Some(language) => block = Some(String::new()),
                None => {}
            }
        }
        assert!(!blocks.is_empty(), "no {language} under {heading:?}");
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_their_section_and_language() {
        let page = Page(
            "# A\n\n```sh\nno\n```\n\n## B\n\n```sh\none\n## two\n```\n```js\nno\n```\n\n### C\n\n\
             ```sh\nthree\n```\n\n## D\n\n```sh\nno\n```\n"
                .into(),
        );
        assert_eq!(page.blocks("B", "sh"), ["one\n## two\n", "three\n"]);
        assert_eq!(page.blocks("D", "sh"), ["no\n"]);
    }
}
