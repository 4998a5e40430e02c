//! Processes that are killed, and one that has a small disk.

use super::*;

const CHILD: &str = "UPDRAFT_TOPICS_TEST_CHILD";
const CHILD_ARGUMENTS: [&str; 3] = ["--ignored", "--nocapture", "--exact"];

/// Runs in a process of its own: appends, trims and swaps, and tells what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it as a process, and kill it"]
async fn child_that_writes() {
    let Ok(path) = env::var(CHILD) else {
        return;
    };
    let store = FileStore::open(&path).await.unwrap();
    let (orders, bounds) = topic(&store, "orders").await;
    let mut producers = JoinSet::new();
    for producer in 0..4 {
        let (store, orders) = (store.clone(), orders.clone());
        producers.spawn(async move {
            for n in 0_u64.. {
                let payload = format!("{}.{producer}.{n}", bounds.last);
                let payload = [payload.as_str(), &"x".repeat(100)].join(" ");
                let offset = append(&store, &orders, &[&payload, "second"]).await;
                tell("stored", &format!("{} {payload}", offset.unwrap()));
            }
        });
    }
    producers.spawn(trim_as_it_goes(store.clone()));
    producers.join_all().await;
}

/// Keeps 100 records, and the last of them in a register.
async fn trim_as_it_goes(store: FileStore) {
    let (short, bounds) = topic(&store, "short").await;
    let mut version = last_told(&store).await.map(|(version, _)| version);
    loop {
        let offset = append(&store, &short, &["x"; 50]).await.unwrap();
        let up_to = offset.saturating_sub(100);
        let bounds = store.trim(&short, bounds.epoch, up_to).await.unwrap();
        let swap = Swap::write(last_key(), version, offset.to_string()).unwrap();
        let swapped = store.swap(vec![swap]).await.unwrap();
        let [Swapped::Written(written)] = swapped[..] else {
            panic!("{swapped:?}");
        };
        version = Some(written);
        tell("trimmed", &format!("{} {offset}", bounds.first));
    }
}

fn last_key() -> RegisterKey {
    RegisterKey::new("test", "last").unwrap()
}

async fn last_told(store: &FileStore) -> Option<(Version, u64)> {
    let found = store.get(&[last_key()]).await.unwrap().remove(0)?;
    let offset = str::from_utf8(&found.value).unwrap().parse().unwrap();
    Some((found.version, offset))
}

fn tell(what: &str, text: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{what} {text}").unwrap();
    out.flush().unwrap();
}

fn start_child(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(CHILD_ARGUMENTS)
        .arg("file::tests::process::child_that_writes")
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

async fn kill_a_writer(rounds: usize) {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let mut told: Vec<(u64, String)> = Vec::new();
    let mut trimmed = (0, 0);
    for round in 0..rounds {
        let mut child = start_child(&path);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut left = 1 + (round * 37) % 60;
        let mut line = String::new();
        // The last line may have been cut by the kill.
        while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            if let Some((_, bounds)) = line.trim_end().split_once("trimmed ") {
                let (first, last) = bounds.split_once(' ').unwrap();
                trimmed = (first.parse().unwrap(), last.parse().unwrap());
            } else if let Some((_, stored)) = line.trim_end().split_once("stored ") {
                let (offset, payload) = stored.split_once(' ').unwrap();
                told.push((offset.parse().unwrap(), payload.to_owned()));
                // What it has said before it was killed is still read.
                if left == 1 {
                    if round == 0 {
                        in_use_by(&path, child.id()).await;
                    }
                    child.kill().unwrap();
                }
                left = left.saturating_sub(1);
            }
            line.clear();
        }
        child.wait().unwrap();
        assert_eq!(left, 0, "the writer ended by itself");
    }
    let (store, _) = open(&path).await;
    let (orders, bounds) = topic(&store, "orders").await;
    let mut all = Vec::new();
    while u64::try_from(all.len()).unwrap() < bounds.last {
        let after = u64::try_from(all.len()).unwrap();
        all.extend(read(&store, &orders, after).await.unwrap());
    }
    assert!(offsets(&all).into_iter().eq(1..=bounds.last));
    for (offset, payload) in told {
        let index = usize::try_from(offset).unwrap();
        assert_eq!(all[index - 1].content, Content::new(payload));
        assert_eq!(all[index].content, Content::new("second"));
    }

    let (short, bounds) = topic(&store, "short").await;
    let (first, last): (u64, u64) = trimmed;
    assert!(bounds.first >= first && bounds.last >= last + 49);
    assert!(last_told(&store).await.unwrap().1 >= last);
    let held = read(&store, &short, 0).await.unwrap();
    assert!(offsets(&held).into_iter().eq(bounds.first..=bounds.last));
}

async fn in_use_by(path: &Path, id: u32) {
    let error = FileStore::open(path).await.unwrap_err();
    assert!(
        matches!(error, TopicError::StoreInUse { process: Some(process), .. } if process == id),
        "{error:?}"
    );
}

#[tokio::test]
async fn topic_086_089_a_writer_that_is_killed_loses_nothing_acknowledged() {
    kill_a_writer(20).await;
}

#[tokio::test]
#[ignore = "200 processes: run by cargo xtask soak"]
async fn soak_topic_086_089_a_writer_that_is_killed_loses_nothing_acknowledged() {
    kill_a_writer(200).await;
}

/// A file system of 3 MiB, where this user may mount one. Otherwise the test above has to do.
#[test]
fn topic_088_a_small_file_system_is_filled_and_gets_room() {
    let folder = Folder::new("topics");
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
        command
    };
    let mount = "mount -t tmpfs -o size=3m tmpfs \"$1\"";
    let can_mount = unshare().args([mount, "sh"]).arg(folder.path()).output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("no file system can be mounted here");
        return;
    }
    let output = unshare()
        .arg(format!("{mount}; shift; exec \"$@\""))
        .arg("sh")
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(CHILD_ARGUMENTS)
        .arg("file::tests::process::child_with_a_small_disk")
        .env(CHILD, folder.file("store"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

#[tokio::test]
#[ignore = "another test starts it as a process that has a small disk"]
async fn child_with_a_small_disk() {
    let Ok(path) = env::var(CHILD) else {
        return;
    };
    let ballast = Path::new(&path).with_extension("ballast");
    fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let store = FileStore::open(&path).await.unwrap();
    let (orders, _) = topic(&store, "orders").await;
    let payload = "x".repeat(10_000);
    let mut last = 0;
    let error = loop {
        match append(&store, &orders, &[&payload]).await {
            Ok(offset) => last = offset,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "store-full", "{error:?}");
    assert!(last > 10, "{last}");
    for _ in 0..3 {
        if let Err(error) = append(&store, &orders, &[&payload]).await {
            assert_eq!(error.code(), "store-full", "{error:?}");
        } else {
            last += 1;
        }
    }
    println!("records are read while the disk is full: {:?}", {
        let read = read(&store, &orders, last - 1).await;
        read.map(|records| offsets(&records))
    });
    fs::remove_file(&ballast).unwrap();
    assert_eq!(append(&store, &orders, &["y"]).await.unwrap(), last + 1);
    let mut next = 0;
    while next <= last {
        let held = offsets(&read(&store, &orders, next).await.unwrap());
        for offset in held {
            next += 1;
            assert_eq!(offset, next);
        }
    }
}
