use super::*;

#[test]
fn topic_104_seed_004_a_registry_in_rust_is_checked_as_a_whole() {
    let registry = Registry::new()
        .pool("default", "localhost:6379:0")
        .pool("second", "localhost:6379:0")
        .stream("stream-a", "default", ["read-group-a", "read-group-ac"])
        .stream("stream-c", "second", ["read-group-ac"])
        .stream("stream-a", "secnd", [])
        .stream_settings("stream-x", |_| {})
        .group_settings("read-group-aa", |group| group);
    let problems = registry.validate().unwrap_err();
    let texts: Vec<_> = problems.iter().map(|problem| &*problem.text).collect();
    let expected: &[&str] = if cfg!(feature = "redis") {
        &[
            "the pool `second` is the same store as `default`; declare all its streams in one",
            "the group `read-group-ac` is in the pool `second` and in `default`; a group reads the \
             streams of one pool",
            "no pool `secnd` with a store is declared; the nearest name is `second`",
            "the stream `stream-a` has no groups; name at least one that reads it",
            "the stream `stream-a` is declared twice; names are unique across pools",
            "no stream `stream-x` is declared; the nearest name is `stream-a`",
            "no group `read-group-aa` is declared; the nearest name is `read-group-a`",
        ]
    } else {
        return;
    };
    assert_eq!(texts, expected);
    let [_, across, .., twice, _, _] = &*problems.iter().collect::<Vec<_>>() else {
        panic!("{problems}");
    };
    for problem in [across, twice] {
        let other = problem.other.as_ref().unwrap();
        assert!(problem.at.file.ends_with("tests.rs") && other.line < problem.at.line);
    }
}

#[cfg(feature = "registry-files")]
mod files {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn folder() -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "registry"]
            .iter()
            .collect()
    }

    /// Each file beside what is wrong with it. UPDATE_EXPECTED writes the latter.
    #[test]
    fn topic_104_seed_004_all_that_is_wrong_with_a_file_is_told_at_once() {
        let files = fs::read_dir(folder()).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end != "txt"));
        let mut count = 0;
        for path in files {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let registry = if name.ends_with(".toml") {
                Registry::new().toml(&name, &text)
            } else {
                Registry::new().yaml(&name, &text)
            };
            let problems = registry.validate().unwrap_err();
            assert_eq!(format!("{problems:?}"), format!("\n{problems}"));
            let problems = format!("{problems}\n");
            let expected = path.with_file_name(format!("{name}.txt"));
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                fs::write(&expected, &problems).unwrap();
            }
            assert_eq!(problems, fs::read_to_string(expected).unwrap(), "{name}");
            count += 1;
        }
        assert!(count >= 10);
    }

    #[test]
    fn a_file_may_use_the_pools_of_another_and_of_the_program() {
        let registry = Registry::new()
            .pool("default", Pool::memory())
            .yaml("a.yaml", "default:\n  streams:\n    a: [x]\n")
            .yaml(
                "b.yaml",
                "default:\n  streams:\n    b: [x, y]\n  order:\n    x: total\n",
            )
            .toml("c.toml", "[second]\nmemory = true\nstreams.c = ['z']\n")
            .validate()
            .unwrap();
        let groups = registry.0.groups();
        let groups: Vec<_> = groups.iter().map(|group| &*group.value).collect();
        assert_eq!(groups, ["x", "y", "z"]);
    }

    #[test]
    fn a_file_may_begin_with_a_byte_order_mark() {
        let text = "\u{feff}[default]\nmemory = true\nstreams.a = ['x']\n";
        let registry = Registry::new().toml("a.toml", text);
        assert_eq!(registry.validate().unwrap().0.streams.len(), 1);
        let text = "\u{feff}default:\n  memory: true\n  streams:\n    a: [x]\n";
        let registry = Registry::new().yaml("a.yaml", text);
        assert_eq!(registry.validate().unwrap().0.streams.len(), 1);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Registry::new().file("not/there.yaml").unwrap_err();
        assert!(error.to_string().starts_with("not/there.yaml: "));
    }
}
