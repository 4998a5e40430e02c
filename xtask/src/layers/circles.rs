//! Files that import each other, directly or by a chain.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;

/// The circles among these files and the files that they import: each as a chain that begins and
/// ends with the same file. Every file in a circle appears in one of these chains.
pub(super) fn circles<'a>(imports: &[(&'a Path, Vec<&'a Path>)]) -> Vec<Vec<&'a Path>> {
    let imported: HashMap<_, _> = imports.iter().map(|(file, its)| (*file, its)).collect();
    let mut found: Vec<Vec<&Path>> = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, _) in imports {
        if !seen.contains(file)
            && let Some(chain) = shortest_way_back(file, &imported)
        {
            seen.extend(chain.iter().copied());
            found.push(chain);
        }
    }
    found
}

fn shortest_way_back<'a>(
    start: &'a Path,
    imported: &HashMap<&'a Path, &Vec<&'a Path>>,
) -> Option<Vec<&'a Path>> {
    let mut came_from: HashMap<&Path, &Path> = HashMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(file) = next.pop_front() {
        for target in imported.get(file).into_iter().copied().flatten() {
            if *target == start {
                let mut chain = vec![start, file];
                while let Some(before) = came_from.get(chain.last()?) {
                    chain.push(before);
                }
                if chain.last() != Some(&start) {
                    chain.push(start);
                }
                chain.reverse();
                chain.dedup();
                return Some(chain);
            }
            if !came_from.contains_key(target) {
                came_from.insert(target, file);
                next.push_back(target);
            }
        }
    }
    None
}
