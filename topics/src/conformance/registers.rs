//! Registers: versions, batches, races, and answers that were lost.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use super::{Handles, Harness, second};
use crate::{Register, RegisterKey, Swap, Swapped, Version};

fn key(name: &str) -> RegisterKey {
    RegisterKey::new("space", name).unwrap()
}

fn write(name: &str, expected: Option<Version>, value: impl Into<Bytes>) -> Swap {
    Swap::write(key(name), expected, value).unwrap()
}

async fn swap(store: &Handles, swaps: Vec<Swap>) -> Vec<Swapped> {
    store.registers.swap(swaps).await.unwrap()
}

async fn get(store: &Handles, name: &str) -> Option<Register> {
    let mut found = store.registers.get(&[key(name)]).await.unwrap();
    found.remove(0)
}

/// Nobody else, and a value never has the version of an earlier one.
pub async fn registers_are_written_by_who_knows_the_version(harness: &impl Harness) {
    let store = harness.open().await;
    let written = swap(
        &store,
        vec![
            write("a", None, "1"),
            write("a", None, "2"),
            write("b", None, "3"),
        ],
    )
    .await;
    let [
        Swapped::Written(a),
        Swapped::Conflict { actual },
        Swapped::Written(b),
    ] = written[..]
    else {
        panic!("{written:?}");
    };
    assert_eq!(actual, Some(a));
    let found = store
        .registers
        .get(&[key("b"), key("x"), key("a")])
        .await
        .unwrap();
    let expected = [Some((b, "3")), None, Some((a, "1"))];
    let expected =
        expected.map(|it| it.map(|(version, value)| Register::new(version, value.into())));
    assert_eq!(found, expected);

    let results = swap(
        &store,
        vec![
            write("a", Some(b), "no"),
            Swap::remove(key("a"), None),
            Swap::remove(key("b"), Some(b)),
            Swap::remove(key("b"), None),
            write("b", Some(b), "no"),
        ],
    )
    .await;
    assert_eq!(
        results,
        [
            Swapped::Conflict { actual: Some(a) },
            Swapped::Conflict { actual: Some(a) },
            Swapped::Removed,
            Swapped::Removed,
            Swapped::Conflict { actual: None },
        ]
    );
    assert_eq!(get(&store, "b").await, None);
    // The same value again has another version, also after a removal.
    let mut versions = vec![a, b];
    for _ in 0..10 {
        let Swapped::Written(version) = swap(&store, vec![write("b", None, "3")]).await[0] else {
            panic!("not written");
        };
        assert!(!versions.contains(&version));
        versions.push(version);
        swap(&store, vec![Swap::remove(key("b"), Some(version))]).await;
    }
    let value = vec![0xff; crate::MAX_REGISTER_VALUE];
    swap(&store, vec![write("b", None, value.clone())]).await;
    assert_eq!(get(&store, "b").await.unwrap().value, value);
    // Another namespace is another register.
    let other = RegisterKey::new("space2", "a").unwrap();
    assert_eq!(store.registers.get(&[other]).await.unwrap(), [None]);
}

/// Each of two owners counts up all of them, in batches, and no count is lost.
pub async fn registers_64_with_two_owners(harness: &impl Harness) {
    const ROUNDS: u32 = 20;
    let first = harness.open().await;
    let names: Vec<String> = (0..64).map(|n| format!("slot {n}")).collect();
    let mut owners = JoinSet::new();
    for store in [second(harness, &first).await, second(harness, &first).await] {
        let names = names.clone();
        owners.spawn(async move {
            let mut left = vec![ROUNDS; names.len()];
            while left.iter().any(|left| *left > 0) {
                let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
                let found = store.registers.get(&keys).await.unwrap();
                let open: Vec<_> = (0..names.len()).filter(|n| left[*n] > 0).collect();
                let swaps = open.iter().map(|n| {
                    let old = found[*n].as_ref();
                    let count: u32 = old.map_or(0, |old| {
                        std::str::from_utf8(&old.value).unwrap().parse().unwrap()
                    });
                    let version = old.map(|old| old.version);
                    write(&names[*n], version, (count + 1).to_string())
                });
                let results = swap(&store, swaps.collect()).await;
                assert_eq!(results.len(), open.len());
                for (n, result) in open.into_iter().zip(results) {
                    if matches!(result, Swapped::Written(_)) {
                        left[n] -= 1;
                    }
                }
                yield_now().await;
            }
        });
    }
    owners.join_all().await;
    for name in &names {
        assert_eq!(
            get(&first, name).await.unwrap().value,
            (2 * ROUNDS).to_string()
        );
    }
}

/// Who reads the register finds its own value, or the one before it, and can go on.
pub async fn registers_tell_what_became_of_a_lost_answer(harness: &impl Harness) {
    let store = harness.open().await;
    let mut known: Option<Register> = None;
    for n in 0..60_usize {
        let value = Bytes::from(n.to_string());
        let expected = known.as_ref().map(|register| register.version);
        let swaps = vec![
            write("a", expected, value.clone()),
            write(&n.to_string(), None, "x"),
        ];
        let lost = store.registers.swap(swaps);
        let patience = async {
            for _ in 0..n % 20 {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = lost => {}
            () = patience => {}
        }
        // The swap may still be under way: one that expects the same version decides.
        let decided = swap(&store, vec![write("a", expected, value.clone())]).await;
        let found = get(&store, "a").await.unwrap();
        assert_eq!(found.value, value);
        match decided[0] {
            Swapped::Written(version) => assert_eq!(found.version, version),
            Swapped::Conflict { actual } => assert_eq!(actual, Some(found.version)),
            Swapped::Removed => panic!("removed"),
        }
        known = Some(found);
    }
}

/// In a namespace, by prefix, and in pages.
pub async fn registers_are_scanned_by_name(harness: &impl Harness) {
    let store = harness.open().await;
    let names = ["a", "b", "b*", "b.1", "b.10", "b.2", "bb", "c", "ä"];
    let swaps = names.iter().rev().map(|name| write(name, None, *name));
    swap(&store, swaps.collect()).await;
    let other = RegisterKey::new("space 2", "b.3").unwrap();
    swap(&store, vec![Swap::write(other, None, "x").unwrap()]).await;
    let scan = async |prefix: &str, after: Option<&str>, limit| {
        let found = store.registers.scan("space", prefix, after, limit);
        let found = found.await.unwrap();
        for (key, register) in &found {
            assert_eq!(register.value, key.name().as_bytes());
        }
        let names = found.iter().map(|(key, _)| key.name().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(scan("", None, 100).await, names);
    assert_eq!(scan("b.", None, 100).await, ["b.1", "b.10", "b.2"]);
    assert_eq!(scan("b*", None, 100).await, ["b*"]);
    assert_eq!(scan("b", Some("b.1"), 2).await, ["b.10", "b.2"]);
    assert_eq!(scan("b", Some("a"), 1).await, ["b"]);
    assert_eq!(scan("b", Some("bb"), 9).await, Vec::<String>::new());
    let b = get(&store, "b").await.unwrap();
    swap(&store, vec![Swap::remove(key("b"), Some(b.version))]).await;
    assert_eq!(scan("b", None, 2).await, ["b*", "b.1"]);
}

/// What has expired can be written as if it had never been.
pub async fn registers_expire(harness: &impl Harness) {
    let store = harness.open().await;
    let short = write("short", None, "x").expires(Duration::from_millis(1));
    let long = write("long", None, "x").expires(Duration::from_secs(3600));
    let written = swap(&store, vec![short, long]).await;
    // The store may take its time.
    for _ in 0..3000 {
        if get(&store, "short").await.is_none() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(get(&store, "short").await, None);
    let again = swap(&store, vec![write("short", None, "y")]).await;
    assert!(matches!(again[0], Swapped::Written(_)));
    // One that is written again without a time stays.
    let Swapped::Written(version) = written[1] else {
        panic!("not written");
    };
    let soon = write("long", Some(version), "y");
    assert!(matches!(
        swap(&store, vec![soon]).await[0],
        Swapped::Written(_)
    ));
    let found = store.registers.scan("space", "", None, 10).await.unwrap();
    assert_eq!(found.len(), 2);
}

/// With their versions.
pub async fn registers_survive_a_kill(harness: &impl Harness) {
    let store = harness.open().await;
    if !store.log.features().durable {
        return;
    }
    swap(&store, vec![write("a", None, "1"), write("b", None, "2")]).await;
    let before = get(&store, "a").await;
    drop(store);
    harness.kill().await;
    let store = harness.open().await;
    assert_eq!(get(&store, "a").await, before);
    assert_eq!(get(&store, "b").await.unwrap().value, "2");
}
