//! To which file a path leads: the module that defines the name, through all re-exports.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::paths::{Mention, Purpose, mentions};

/// The names on the way to a module from the crate's root.
pub(super) type ModulePath = Vec<String>;

/// How many re-exports of a name are followed.
const MAX_REEXPORTS: usize = 8;

/// The modules of a crate that have files of their own.
#[derive(Debug, Default)]
pub(super) struct Modules(HashMap<ModulePath, Module>);

#[derive(Debug)]
struct Module {
    file: PathBuf,
    mentions: Vec<Mention>,
}

impl Modules {
    /// From the files of a crate: their paths below its root, and their texts.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let modules = files.into_iter().map(|(file, text)| {
            let (file, mentions) = (file.to_owned(), mentions(text));
            (module_of(&file), Module { file, mentions })
        });
        Self(modules.collect())
    }

    /// Each file with the files that it imports. Imports from an enclosing module and mere
    /// re-exports are not counted.
    pub(super) fn imports(&self) -> Vec<(&Path, Vec<&Path>)> {
        let imports = self.0.iter().map(|(at, module)| {
            let paths = module.mentions.iter();
            let used = paths.filter(|it| !matches!(it.purpose, Purpose::Reexport(_)));
            let targets = used.filter_map(|it| self.target(at, &it.segments));
            let mut targets: Vec<&Path> = targets
                .filter(|target| !at.starts_with(target))
                .filter_map(|target| Some(&*self.0.get(&target)?.file))
                .collect();
            targets.sort_unstable();
            targets.dedup();
            (&*module.file, targets)
        });
        let mut imports: Vec<_> = imports.collect();
        imports.sort_unstable();
        imports
    }

    /// The module that defines the name of a path, seen from the module `at`.
    fn target(&self, at: &[String], path: &[String]) -> Option<ModulePath> {
        let mut path = self.absolute(at, path, MAX_REEXPORTS)?;
        for _ in 0..MAX_REEXPORTS {
            let longest = (0..=path.len()).rev();
            let mut prefixes = longest.filter_map(|length| path.get(..length));
            let module = prefixes.find(|prefix| self.0.contains_key(*prefix))?;
            match self.reexported(module, path.get(module.len()..)?) {
                Some(further) => path = further,
                None => return Some(module.to_vec()),
            }
        }
        None
    }

    /// Where a module gets what it re-exports under this name.
    fn reexported(&self, module: &[String], rest: &[String]) -> Option<ModulePath> {
        let (wanted, rest) = rest.split_first()?;
        let mentions = self.0.get(module)?.mentions.iter();
        let path = mentions.into_iter().find_map(|it| match &it.purpose {
            Purpose::Reexport(name) if name == wanted => Some(&it.segments),
            _ => None,
        })?;
        let path = self.absolute(module, path, MAX_REEXPORTS)?;
        Some([&path, rest].concat())
    }

    /// A path from the crate's root; `None` for a path into another crate.
    fn absolute(&self, at: &[String], path: &[String], steps: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([at, rest].concat()),
            "super" => {
                let climbed = path.iter().take_while(|segment| *segment == "super");
                let climbed = climbed.count();
                let above = at.get(..at.len().checked_sub(climbed)?)?;
                Some([above, path.get(climbed..)?].concat())
            }
            _ if self
                .0
                .contains_key(&[at, std::slice::from_ref(first)].concat()) =>
            {
                Some([at, path].concat())
            }
            _ => {
                let mentions = self.0.get(at)?.mentions.iter();
                let import = mentions.into_iter().find_map(|it| match &it.purpose {
                    Purpose::Import(name) if name == first => Some(&it.segments),
                    _ => None,
                })?;
                let import = self.absolute(at, import, steps.checked_sub(1)?)?;
                Some([&import, rest].concat())
            }
        }
    }
}

/// The module of a file.
pub(super) fn module_of(file: &Path) -> ModulePath {
    let path = file.with_extension("");
    let names = path.iter().map(|name| name.to_string_lossy().into_owned());
    let mut names: ModulePath = names.collect();
    let is_named_by_folder = names.last().is_some_and(|name| name == "mod");
    if is_named_by_folder || names == ["lib"] {
        names.pop();
    }
    names
}
