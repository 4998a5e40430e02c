//! What a tree declares, and everything that is wrong with its shape.

use super::tree::{Node, Value};
use crate::Order;
use crate::nearest::nearest;
use crate::registry::problem::{Declared, Problem};
use crate::registry::{DeclaredPool, DeclaredStream, Pool, Registry};

/// What a pool may have.
const MEMBERS: [&str; 6] = ["redis", "file", "mongo", "memory", "streams", "order"];

/// What groups of a file may have as their order.
const ORDERS: [(&str, Order); 3] = [
    ("key", Order::Key),
    ("total", Order::Total),
    ("none", Order::None),
];

/// Adds the declarations of a file, and its problems.
pub(super) fn read(registry: &mut Registry, root: Node) {
    let kind = root.kind();
    let Value::Map(pools) = root.value else {
        let text = format!(
            "a registry is a map of pools, each with a store and `streams`; this is {kind}"
        );
        registry.problems.push(Problem::new(&root.at, text));
        return;
    };
    let pools = named(registry, pools, "pool");
    for (index, (name, _)) in pools.iter().enumerate() {
        let earlier = pools.iter().take(index).map(|(name, _)| name);
        if let Some(other) = earlier.clone().find(|other| other.value == name.value) {
            let text = format!("the pool `{}` is declared twice; remove one", name.value);
            let problem = Problem::new(&name.at, text).with(&other.at);
            registry.problems.push(problem);
        }
    }
    for (name, pool) in pools {
        read_pool(registry, &name, pool);
    }
}

fn read_pool(registry: &mut Registry, name: &Declared<String>, pool: Node) {
    let kind = pool.kind();
    let Value::Map(members) = pool.value else {
        let text = format!(
            "the pool `{}` is {kind}; it must be a map with a store, as `redis`, and `streams`",
            name.value
        );
        registry.problems.push(Problem::new(&name.at, text));
        return;
    };
    let mut seen: Vec<Declared<String>> = Vec::new();
    let mut store: Option<Declared<String>> = None;
    for (member, value) in named(registry, members, "member") {
        if let Some(other) = seen.iter().find(|other| other.value == member.value) {
            let text = format!("`{}` is there twice; remove one", member.value);
            let problem = Problem::new(&member.at, text).with(&other.at);
            registry.problems.push(problem);
            continue;
        }
        seen.push(member.clone());
        match &*member.value {
            "streams" => read_streams(registry, name, &member, value),
            "order" => read_order(registry, value),
            "redis" | "file" | "mongo" | "memory" => {
                if let Some(other) = &store {
                    let text = format!(
                        "the pool `{}` has two stores; leave it one of them",
                        name.value
                    );
                    let problem = Problem::new(&member.at, text).with(&other.at);
                    registry.problems.push(problem);
                    continue;
                }
                read_store(registry, name, &member, value);
                store = Some(member);
            }
            unknown => {
                let hint = nearest(unknown, MEMBERS).map_or_else(
                    || format!("it may have `{}`", MEMBERS.join("`, `")),
                    |nearest| format!("the nearest one is `{nearest}`"),
                );
                let text = format!("a pool has no member `{unknown}`; {hint}");
                registry.problems.push(Problem::new(&member.at, text));
            }
        }
    }
}

fn read_store(
    registry: &mut Registry,
    name: &Declared<String>,
    member: &Declared<String>,
    value: Node,
) {
    let kind = value.kind();
    let pool = match (&*member.value, value.value) {
        ("redis", Value::Text(address)) => Pool::redis(address),
        ("file", Value::Text(path)) => Pool::file(path),
        ("mongo", Value::Text(url)) => Pool::mongo(url),
        ("memory", Value::Bool(true)) => Pool::memory(),
        (member, _) => {
            let must = match member {
                "redis" => "an address, as localhost:6379:0",
                "file" => "a path, as streams.redb",
                "mongo" => "a URL, as mongodb://localhost/streams",
                _ => "true",
            };
            let text = format!("`{member}` is {kind}; it must be {must}");
            registry.problems.push(Problem::new(&value.at, text));
            // So that its streams are not told to be without a pool.
            Pool::memory()
        }
    };
    registry.pools.push(DeclaredPool {
        name: name.clone(),
        store: Declared::new(pool, value.at),
    });
}

fn read_streams(
    registry: &mut Registry,
    pool: &Declared<String>,
    member: &Declared<String>,
    streams: Node,
) {
    let kind = streams.kind();
    let Value::Map(streams) = streams.value else {
        let text = format!(
            "`streams` is {kind}; it must be a map of streams, each with the list of its groups"
        );
        registry.problems.push(Problem::new(&member.at, text));
        return;
    };
    for (name, groups) in named(registry, streams, "stream") {
        let groups = read_groups(registry, &name, groups);
        registry.streams.push(DeclaredStream {
            name,
            pool: pool.clone(),
            groups,
        });
    }
}

fn read_groups(
    registry: &mut Registry,
    stream: &Declared<String>,
    groups: Node,
) -> Option<Vec<Declared<String>>> {
    let kind = groups.kind();
    let Value::List(groups) = groups.value else {
        let text = format!(
            "the groups of the stream `{}` are {kind}; they must be a list of names",
            stream.value
        );
        registry.problems.push(Problem::new(&stream.at, text));
        return None;
    };
    let is_empty = groups.is_empty();
    let mut names = Vec::new();
    for group in groups {
        if let Some(name) = text(registry, group, "group") {
            names.push(name);
        }
    }
    // If none of them could be read, that is told already.
    (is_empty || !names.is_empty()).then_some(names)
}

fn read_order(registry: &mut Registry, orders: Node) {
    let kind = orders.kind();
    let Value::Map(orders) = orders.value else {
        let text = format!("`order` is {kind}; it must be a map of groups to key, total or none");
        registry.problems.push(Problem::new(&orders.at, text));
        return;
    };
    for (group, order) in named(registry, orders, "group") {
        let found = match &order.value {
            Value::Text(text) => ORDERS.iter().find(|(name, _)| name == text),
            _ => None,
        };
        match found {
            Some((_, order)) => registry.order(group, *order),
            None => {
                let text = "the order of a group is one of key, total and none";
                registry.problems.push(Problem::new(&order.at, text));
            }
        }
    }
}

/// The entries whose keys are names.
fn named(
    registry: &mut Registry,
    entries: Vec<(Node, Node)>,
    what: &str,
) -> Vec<(Declared<String>, Node)> {
    let mut named = Vec::new();
    for (key, value) in entries {
        if let Some(name) = text(registry, key, what) {
            named.push((name, value));
        }
    }
    named
}

fn text(registry: &mut Registry, node: Node, what: &str) -> Option<Declared<String>> {
    let kind = node.kind();
    match node.value {
        Value::Text(text) => Some(Declared::new(text, node.at)),
        _ => {
            let text = format!(
                "the name of a {what} is {kind}; it must be text, in quotes if it looks otherwise"
            );
            registry.problems.push(Problem::new(&node.at, text));
            None
        }
    }
}
