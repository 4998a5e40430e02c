//! The page of the example `orders` in a real browser, and its topic from a terminal. The script
//! asks for what only the test can do: to stop and start the server, and to change the topic
//! meanwhile.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use updraft_test_support::example::Example;
use updraft_test_support::process::free_port;
use updraft_test_support::script::{Script, package, require_chromium};

#[test]
fn topic_102_the_page_of_orders_misses_nothing_while_the_server_is_away() {
    require_chromium();
    package();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("orders_page");
    std::fs::create_dir_all(&folder).unwrap();
    println!("screenshots are in {}", folder.display());
    let orders = Orders {
        store: folder.join("orders.redb"),
        port: free_port(),
    };
    drop(std::fs::remove_file(&orders.store)); // of an earlier run

    let mut server = Some(orders.start());
    let page = format!("http://127.0.0.1:{}/", orders.port);
    Script::start("orders_page", &[page.as_ref(), folder.as_os_str()]).run(|wish| match wish {
        // Dropped, it is killed.
        "stop the server" => server = None,
        "start the server" => server = Some(orders.start()),
        wish => match wish.split_once(' ') {
            Some(("publish", line)) => orders.command(&["publish", "orders"], line),
            Some(("trim", offset)) => orders.command(&["trim", "orders", "--up-to", offset], ""),
            _ => panic!("what is '{wish}'?"),
        },
    });
}

struct Orders {
    store: PathBuf,
    port: u16,
}

impl Orders {
    fn start(&self) -> Example {
        let port = self.port.to_string();
        let listen = format!("127.0.0.1:{port}");
        let store = self.store.to_str().expect("UTF-8");
        Example::start(
            "orders",
            &[("PORT", &port), ("LISTEN", &listen), ("STORE", store)],
        )
    }

    /// Runs `updraft topic`.
    fn command(&self, arguments: &[&str], input: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_updraft"))
            .arg("topic")
            .args(arguments)
            .args(["--store", &format!("file:{}", self.store.display())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        // What takes no input may have ended.
        drop(writeln!(pipe, "{input}"));
        drop(pipe);
        let ended = child.wait_with_output().expect("an end");
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    }
}
