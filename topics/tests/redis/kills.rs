//! A Redis that is killed while records are appended.

use super::*;

/// A producer that is cut off again and again, and a topic that is read after each restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_086_redis_is_killed_while_records_are_appended() {
    kill_while_records_are_appended(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "50 kills: run by cargo xtask soak"]
async fn soak_topic_086_redis_is_killed_while_records_are_appended() {
    kill_while_records_are_appended(50).await;
}

async fn kill_while_records_are_appended(rounds: usize) {
    let mut server = RedisServer::start_durable();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    let mut last = 0;
    for round in 0..rounds {
        let producer = {
            let (store, orders) = (store.clone(), orders.clone());
            let append = async move {
                let mut told = Vec::new();
                for n in 0.. {
                    let payload = format!("{round} {n}");
                    let records = vec![text(&payload), text("second")];
                    match store.append(&orders, Append::new(records)).await {
                        Ok(batch) => told.push((batch.records[0].offset, payload)),
                        Err(error) => {
                            assert_eq!(error.code(), "backend-unavailable");
                            break;
                        }
                    }
                }
                told
            };
            let mut set = JoinSet::new();
            set.spawn(append);
            set
        };
        let mut direct = server.connection();
        let before = last;
        eventually("records are appended", || {
            let length: u64 = ask(&mut direct, &format!("XLEN {LOG}"));
            length > before + 20
        });
        server.restart();
        let told = producer.join_all().await.remove(0);
        // The store finds the new process by itself.
        let mut place = Place::start(epoch);
        let mut seen = Vec::new();
        loop {
            let page = page(&store, &orders, place).await;
            if page.records.is_empty() {
                break;
            }
            place = page.next;
            seen.extend(page.records);
        }
        last = u64::try_from(seen.len()).unwrap();
        let seen = payloads(&seen);
        assert!(seen.iter().map(|(offset, _)| *offset).eq(1..=last));
        assert!(last % 2 == 0, "half of a batch is there: {last}");
        for (offset, payload) in &told {
            let index = usize::try_from(*offset).unwrap();
            assert_eq!(
                seen[index - 1..=index],
                [(*offset, &**payload), (offset + 1, "second")]
            );
        }
    }
}
