//! What is wrong with the declarations of a registry, taken together.

use super::problem::{Declared, Problem};
use super::{DeclaredStream, Registry};
use crate::TopicName;
use crate::group::GroupName;
use crate::nearest::nearest;

/// All problems, those of the files included.
pub(super) fn problems(registry: &Registry) -> Vec<Problem> {
    let mut problems = registry.problems.clone();
    check_pools(registry, &mut problems);
    check_streams(registry, &mut problems);
    check_groups(registry, &mut problems);
    check_settings(registry, &mut problems);
    problems
}

fn check_pools(registry: &Registry, problems: &mut Vec<Problem>) {
    for (index, pool) in registry.pools.iter().enumerate() {
        let name = &pool.name;
        if name.value.is_empty() {
            problems.push(Problem::new(&name.at, "a pool has no name; give it one"));
        }
        if let Some(reason) = pool.store.value.problem() {
            problems.push(Problem::new(&pool.store.at, reason));
        }
        for other in registry.pools.iter().take(index) {
            if other.name.value == name.value {
                let text = format!("the pool `{}` is declared twice; remove one", name.value);
                problems.push(Problem::new(&name.at, text).with(&other.name.at));
            } else if other.store.value.is_same(&pool.store.value) {
                let text = format!(
                    "the pool `{}` is the same store as `{}`; declare all its streams in one",
                    name.value, other.name.value
                );
                problems.push(Problem::new(&pool.store.at, text).with(&other.store.at));
            }
        }
    }
}

fn check_streams(registry: &Registry, problems: &mut Vec<Problem>) {
    for (index, stream) in registry.streams.iter().enumerate() {
        let DeclaredStream { name, pool, groups } = stream;
        if let Err(invalid) = TopicName::new(&name.value) {
            problems.push(Problem::new(&name.at, invalid.to_string()));
        }
        let mut earlier = registry.streams.iter().take(index);
        if let Some(other) = earlier.find(|other| other.name.value == name.value) {
            let text = format!(
                "the stream `{}` is declared twice; names are unique across pools",
                name.value
            );
            problems.push(Problem::new(&name.at, text).with(&other.name.at));
        }
        let pools = || registry.pools.iter().map(|pool| &*pool.name.value);
        if !pools().any(|known| known == pool.value) {
            let text = match nearest(&pool.value, pools()) {
                Some(nearest) => format!(
                    "no pool `{}` with a store is declared; the nearest name is `{nearest}`",
                    pool.value
                ),
                None => format!(
                    "no pool `{}` with a store is declared; say where it is, as in `redis: \
                     localhost:6379:0`",
                    pool.value
                ),
            };
            problems.push(Problem::new(&pool.at, text));
        }
        if groups.as_ref().is_some_and(Vec::is_empty) {
            let text = format!(
                "the stream `{}` has no groups; name at least one that reads it",
                name.value
            );
            problems.push(Problem::new(&name.at, text));
        }
        check_stream_groups(stream, problems);
    }
}

/// The groups of one stream.
fn check_stream_groups(stream: &DeclaredStream, problems: &mut Vec<Problem>) {
    let topic = TopicName::new(&stream.name.value);
    for (index, group) in stream.groups().enumerate() {
        if let Some(other) = stream
            .groups()
            .take(index)
            .find(|it| it.value == group.value)
        {
            let text = format!("the group `{}` is named twice; remove one", group.value);
            problems.push(Problem::new(&group.at, text).with(&other.at));
        }
        let text = match (GroupName::new(&group.value), &topic) {
            (Err(_), _) => {
                "the name of the group cannot be used; use 1 to 255 bytes without control \
                 characters, and no `_` in front"
            }
            (Ok(name), Ok(topic)) if name.dead_letters(topic).is_err() => {
                "the names of the group and its stream together are longer than 250 bytes; \
                 shorten one"
            }
            _ => continue,
        };
        problems.push(Problem::new(&group.at, text));
    }
}

/// Groups are of one pool.
fn check_groups(registry: &Registry, problems: &mut Vec<Problem>) {
    let mut known: Vec<(&Declared<String>, &str)> = Vec::new();
    for stream in &registry.streams {
        for group in stream.groups() {
            match known.iter().find(|(other, _)| other.value == group.value) {
                None => known.push((group, &stream.pool.value)),
                Some((_, pool)) if *pool == stream.pool.value => {}
                Some((other, pool)) => {
                    let text = format!(
                        "the group `{}` is in the pool `{}` and in `{pool}`; a group reads the \
                         streams of one pool",
                        group.value, stream.pool.value
                    );
                    problems.push(Problem::new(&group.at, text).with(&other.at));
                }
            }
        }
    }
}

/// Settings are those of what is declared.
fn check_settings(registry: &Registry, problems: &mut Vec<Problem>) {
    let streams: Vec<&str> = registry.streams.iter().map(|it| &*it.name.value).collect();
    let groups = registry.groups();
    let groups: Vec<&str> = groups.iter().map(|group| &*group.value).collect();
    let mut check = |what: &str, known: &[&str], name: &Declared<String>| {
        if !known.contains(&&*name.value) {
            let nearest = nearest(&name.value, known.iter().copied());
            let hint = nearest.map_or_else(
                || "declare it, or remove this".to_owned(),
                |nearest| format!("the nearest name is `{nearest}`"),
            );
            let text = format!("no {what} `{}` is declared; {hint}", name.value);
            problems.push(Problem::new(&name.at, text));
        }
    };
    for (stream, _) in &registry.stream_settings {
        check("stream", &streams, stream);
    }
    for (group, _) in &registry.group_settings {
        check("group", &groups, group);
    }
}
